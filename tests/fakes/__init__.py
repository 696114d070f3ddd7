"""In-memory implementations of the ports, under the control of a test."""
