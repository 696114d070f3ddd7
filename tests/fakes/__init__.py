"""Neighbours of the core and the checks that live in memory and do as they are told."""
