"""The JSON Schemas that we publish and validate with."""
