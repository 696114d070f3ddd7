"""The built-in engine: llama.cpp behind the engine protocol, in its own process."""
