"""Sign-off: sign a release, add a signature, waive a drift, verify."""
