"""The devices of ggml, and what of a model is placed on them."""
