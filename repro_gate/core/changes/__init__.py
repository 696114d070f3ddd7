"""What a check observed and no golden has, and the review of it."""
