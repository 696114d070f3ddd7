"""GitHub as a neighbour: the run that we are in, its files, and comments on pull requests."""
