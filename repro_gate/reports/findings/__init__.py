"""Findings of both gates, their wording and their evidence."""
