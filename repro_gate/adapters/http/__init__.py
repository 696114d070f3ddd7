"""What our HTTP clients do alike: keys, time, attempts, and one bounded call."""
