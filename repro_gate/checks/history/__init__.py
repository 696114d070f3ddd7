"""The history of hosted models: what it shows."""
