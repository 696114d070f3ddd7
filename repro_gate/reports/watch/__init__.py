"""The status of a watch: in words, and as data."""
