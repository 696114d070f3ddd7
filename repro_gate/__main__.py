"""`python -m repro_gate`, and the `repro-gate` command."""

from repro_gate.cli.app import main

if __name__ == "__main__":
    main()
