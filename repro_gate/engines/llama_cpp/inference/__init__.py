"""Decoding, sampling, generating and scoring with a session."""
