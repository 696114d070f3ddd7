"""Checks divided over several jobs, and their merge."""
