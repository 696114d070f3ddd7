"""Texts for GitHub: the comment on a pull request, annotations and the job summary."""
