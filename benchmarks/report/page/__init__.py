"""The report as a whole: every table and plot of a run laid out as files and as one HTML page."""
