"""Text for any report: escaping, numbers, Markdown and shell commands."""
