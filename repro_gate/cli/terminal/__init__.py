"""The terminal: lines, progress, questions and signals."""
