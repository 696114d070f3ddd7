"""The commands about hosted models."""
