"""`repro-gate accept`: goldens that a comment on a pull request asks for."""
