"""Texts for GitLab: a note on a merge request, and the code quality report."""
