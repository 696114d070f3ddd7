"""What a new user sees, from `init` to the first check: sessions of the real program.

python -m benchmarks.first_gates [--model FILE]
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from benchmarks.workplace import local_environment
from tests.fakes.fireworks.conduct import KEY
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import serving

_KEY_ENV: Final = "FIREWORKS_API_KEY"
_URL: Final = "https://api.fireworks.ai/inference/v1"
_TIMES: Final = re.compile(r"\d+\.\d+ s\b|[\d-]{10} \d\d:\d\d")
_FILE: Final = "repro-gate.toml"
TOKENS: Final = ("update-snapshots --yes", "check")
OWN_FILE: Final = "A GGUF file in the folder"
HOSTED: Final = "A provider"
_PAGE: Final = """# From nothing to a gate

`python -m benchmarks.first_gates --model FILE` prints this page, with SmolLM2 135M as the file.
Times are left out. The provider is an imitation of Fireworks, whose address is shown instead.
"""


def own_file(model: Path, *commands: str) -> str:
    """Return the session with a model file: `init`, its matrix, and more commands."""
    with _Session() as session:
        shutil.copyfile(model, session.folder / model.name)
        begun = session.printed("init --yes")
        shown = (session.folder / _FILE).read_text("utf-8")
        return f"{begun}$ cat {_FILE}\n{shown}{session.printed(*commands)}"


def hosted() -> str:
    """Return the session with the imitation of a provider."""
    with serving() as api, _Session({_KEY_ENV: KEY}) as session:
        text = session.printed(f"init fireworks --model {MODEL} --yes")
        file = session.folder / _FILE
        file.write_text(file.read_text("utf-8").replace(_URL, api.base_url), "utf-8")
        asked = session.printed("record-baseline --yes", "check --quiet")
        return text + asked.replace(api.host.partition("//")[2], "api.fireworks.ai")


class _Session:
    """An empty folder, in which commands are run one after the other."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._opened = TemporaryDirectory()
        self.folder = Path(self._opened.name, "gate")
        self.folder.mkdir()
        home = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), self._opened.name)
        self._environ = local_environment(**home, **(variables or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.cleanup()

    def printed(self, *commands: str) -> str:
        """Return what commands print on stdout, after each command."""
        return "".join(f"$ repro-gate {each}\n{self._run(each.split())}\n" for each in commands)

    def _run(self, arguments: Sequence[str]) -> str:
        command = [sys.executable, "-P", "-m", "repro_gate", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return _TIMES.sub(lambda time: "... s" if time[0].endswith("s") else "DATE", done.stdout)


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="a GGUF file, such as SmolLM2")
    options = parser.parse_args()
    print(_PAGE)
    found = {} if options.model is None else {OWN_FILE: own_file(options.model, *TOKENS)}
    found[HOSTED] = hosted()
    shown = (f"## {title}\n\n```text\n{text.rstrip()}\n```" for title, text in found.items())
    print("\n\n".join(shown))


if __name__ == "__main__":
    main()
