"""Parts of a check that run on machines of their own."""
