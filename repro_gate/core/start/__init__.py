"""How a gate begins: what a machine has, and the first matrix that pins it."""
