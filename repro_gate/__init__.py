"""The check that a pull request cannot get past when the tokens of a model have moved."""

__version__ = "0.1.0"
