"""The watch over a suite: its committed epoch, its nights, and what they show."""
