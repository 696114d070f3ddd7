"""`python -m repro_gate`, and the `repro-gate` command."""

from repro_gate.cli import signals


def main() -> None:
    """Run the command line."""
    # Before the imports, which take most of the time until a command begins.
    signals.install_handlers()
    from repro_gate.cli.app import main as run  # noqa: PLC0415 -- see above

    run()


if __name__ == "__main__":
    main()
