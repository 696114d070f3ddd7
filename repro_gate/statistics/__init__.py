"""The statistics of the logprob gate: arrays of draws in, p-values and bounds out."""
