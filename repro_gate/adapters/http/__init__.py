"""HTTP as our clients share it: bounded calls, retries, and secrets that are never shown."""
