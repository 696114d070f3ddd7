"""Engines as child processes that speak the engine protocol."""
