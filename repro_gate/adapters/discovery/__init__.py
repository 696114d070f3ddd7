"""Looks at a machine for what a gate can begin with; sends no key and changes nothing."""
