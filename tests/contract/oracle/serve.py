"""llama-server of the wheel xllamacpp, on a free port of the loopback, until its stdin ends.

`make oracle` installs the wheel into an environment of its own. Its Python runs this file, which
can therefore import nothing of this project.
"""

import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Start with the settings in the first argument, and print the address and the build."""
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    for name, value in json.loads(sys.argv[1]).items():
        _set(params, name, value)
    server = xllamacpp.Server(params)
    facts = {"url": server.listening_address, "features": xllamacpp.get_system_info()}
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _set(params: Any, name: str, value: object) -> None:
    *path, last = name.split(".")
    for part in path:
        params = getattr(params, part)
    # Without this check, Python would make an attribute of an unknown name.
    if not hasattr(params, last):
        raise SystemExit(f"llama-server has no setting {name}")
    setattr(params, last, value)


if __name__ == "__main__":
    main()
