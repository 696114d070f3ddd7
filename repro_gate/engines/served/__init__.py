"""The engine that asks an HTTP server, which it may start itself."""
