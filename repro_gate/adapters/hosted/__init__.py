"""Hosted models over HTTP: log-probabilities from Fireworks and from APIs of OpenAI's shape."""
