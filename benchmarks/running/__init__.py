"""Running a plan: training, answering, and what is written while it goes on."""
