"""Drift: one divergence, and what settings do to the tokens of a model."""
