"""vLLM 0.32 as it was recorded, with a model of its own."""
