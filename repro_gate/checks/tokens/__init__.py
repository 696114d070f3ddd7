"""The token gate: exact comparison with committed goldens."""
