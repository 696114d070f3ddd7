"""The log-probability gate: policies, draws, baselines, verdicts and error rates."""
