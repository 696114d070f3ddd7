"""Signed files, keys, the recipient's policy, and the files of a commit."""
