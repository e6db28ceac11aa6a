"""What a report says in numbers, computed from the predictions of a run."""
