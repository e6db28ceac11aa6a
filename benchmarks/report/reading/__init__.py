"""A run folder read and checked: its columns, its examples, its manifest."""
