"""The built-in engine: llama.cpp in a process of its own, speaking the engine protocol."""
