"""The part of GitLab's API that concerns notes on merge requests, on the loopback."""
