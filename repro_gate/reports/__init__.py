"""One `GateReport` in, text out."""
