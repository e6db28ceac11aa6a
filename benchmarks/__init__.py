"""What is measured: tasks, metrics, data sources, profiles and the run itself."""
