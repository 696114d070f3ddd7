"""The files and the texts of `init`."""
