"""The history of hosted models: on a terminal, as a page, and as JSON."""
