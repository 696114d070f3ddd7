"""Begin: every verdict on a copy, and a first matrix."""
