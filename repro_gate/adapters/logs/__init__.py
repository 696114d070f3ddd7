"""Logs of the runs of an update and the draws of a check, from which both are resumed."""
