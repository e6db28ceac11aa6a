"""The plots of a report and the colours that every figure of this project shares."""
