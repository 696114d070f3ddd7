"""`repro-gate lint`: the matrix and its snapshots, without any engine."""
