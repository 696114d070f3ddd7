"""The terminal: lines, progress and questions."""
