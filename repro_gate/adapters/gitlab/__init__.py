"""GitLab: the job of a pipeline, and notes on its merge request."""
