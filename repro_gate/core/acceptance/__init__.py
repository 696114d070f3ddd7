"""Comments on a pull request that ask to record goldens."""
