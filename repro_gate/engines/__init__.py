"""Engines: programs that run in their own process and implement the engine protocol."""
