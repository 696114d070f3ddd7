"""The history of hosted models: `repro-gate history`."""
