"""The token gate: cells, generations, goldens, verdicts and controls."""
