"""Programs that run in a process of their own and speak the engine protocol."""
