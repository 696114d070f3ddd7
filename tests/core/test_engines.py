"""A model file other than the pinned one, and what to do about it."""

from dataclasses import replace

import pytest

from repro_gate.core.engines import EngineKind, ModelSpec, another_file
from tests.fakes.values import engine_spec_of

_REPIN = "repro-gate update-snapshots --repin m"
_EDIT = "set the sha256 of models.m in the matrix to 22, then repro-gate update-snapshots"


@pytest.mark.parametrize(("sha256", "accept"), [(None, _REPIN), ("1" * 64, _EDIT)])
def test_another_file_is_accepted_where_the_file_is_pinned(sha256: str | None, accept: str) -> None:
    """In the matrix or in the snapshots."""
    model = ModelSpec(name="m", engine=engine_spec_of(), source="m.gguf", sha256=sha256)

    error = another_file(model, expected="11", found="22")

    assert error.reason == "the file of m has the sha256 22, but 11 is pinned"
    assert error.remedy == f"restore the pinned file; if the new one is intended: {accept}"


def test_a_command_is_defined_by_its_words_and_settings() -> None:
    """The built-in engine reports its own."""
    built_in = replace(engine_spec_of(), settings={"n": 1})
    other = replace(built_in, kind=EngineKind.COMMAND, command=("a b", "c"))

    assert built_in.definition == {}
    assert other.definition == {"matrix.command": "'a b' c", "matrix.settings.n": "1"}
