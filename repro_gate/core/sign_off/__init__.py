"""Release sign-off: what is signed, what its recipient demands, and whether the two agree."""
