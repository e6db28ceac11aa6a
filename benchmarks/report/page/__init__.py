"""Step 4 of a report, page: its tables and plots as files, as one HTML page, and as the short form that is printed."""
