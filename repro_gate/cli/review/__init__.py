"""Accept what a check observed: by cause, or one change at a time."""
