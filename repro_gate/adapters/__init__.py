"""The outside world as it is: one module for each neighbour."""
