"""The page of a check: its sections are values for a template each."""
