"""What is said on GitHub: the comment on a pull request, annotations, and the summary of a job."""
