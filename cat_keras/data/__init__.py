"""Examples and predictions, and the way from text to arrays of fixed shapes."""
