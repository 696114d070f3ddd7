"""What we know and decide: pure values and functions that never meet the outside world."""
