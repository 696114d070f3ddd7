"""Small language models that this project makes itself, byte for byte the same on any machine."""
