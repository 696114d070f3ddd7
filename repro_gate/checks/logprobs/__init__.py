"""The log-probability gate: statistical comparison with recorded baselines."""
