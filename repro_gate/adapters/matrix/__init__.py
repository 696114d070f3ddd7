"""The matrix file, read."""
