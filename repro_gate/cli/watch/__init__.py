"""`repro-gate watch`: a hosted model over many nights."""
