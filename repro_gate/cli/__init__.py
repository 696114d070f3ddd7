"""Parse, wire, call, render, exit."""
