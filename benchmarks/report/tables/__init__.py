"""The tables of a report: which numbers stand where, and what they look like as text."""
