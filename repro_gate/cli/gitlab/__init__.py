"""`repro-gate publish` in a job of GitLab CI/CD."""
