"""Models and cascades inside evaluation harnesses of others."""
