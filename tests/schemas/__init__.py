"""The published schemas that are made of types."""
