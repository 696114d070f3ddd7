"""The published schemas that are generated from types."""
