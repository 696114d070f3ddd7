"""The demo shows every verdict, and each of its changes is made."""

from pathlib import Path
from typing import get_args

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.cli.start.running import write_matrix
from repro_gate.cli.start.scenarios import (
    SMOLLM2,
    TINY,
    WITHOUT_LLAMA_CPP,
    Edit,
    Model,
    Removal,
    Scenario,
    gates_of,
    model_of_file,
)
from repro_gate.core.logprobs.verdicts import LogprobVerdict
from repro_gate.core.tokens.verdicts import Orphan, Verdict
from tests.docs.pages import ROOT

_MODELS = (SMOLLM2, TINY, WITHOUT_LLAMA_CPP, model_of_file(Path('we"ird.gguf')))


def _scenarios(model: Model, gate: int) -> list[Scenario]:
    return [scenario for stage in gates_of(model)[gate].stages for scenario in stage.scenarios]


@pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.title)
@pytest.mark.parametrize(("gate", "verdicts"), [(0, Verdict), (1, LogprobVerdict)])
def test_every_verdict_is_shown_once(gate: int, verdicts: object, model: Model) -> None:
    """Of tokens and of log-probabilities, with every model."""
    shown = [scenario.word for scenario in _scenarios(model, gate)]
    assert sorted(shown) == sorted([Orphan.word, *(kind.word for kind in get_args(verdicts))])


@pytest.mark.parametrize("model", _MODELS, ids=lambda model: model.title)
@pytest.mark.parametrize("gate", [0, 1])
def test_every_edit_leads_to_another_matrix(gate: int, model: Model, tmp_path: Path) -> None:
    """One that is valid too."""
    file = write_matrix(tmp_path / "demo", gates_of(model)[gate], model)
    edits = [one.change for one in _scenarios(model, gate) if isinstance(one.change, Edit)]
    seen = {file.read_text("utf-8")}
    assert list(read_matrix(file).models)
    for number, edit in enumerate(edits):
        changed = write_matrix(tmp_path / str(number), gates_of(model)[gate], model)
        edit.apply(changed.parent)
        assert changed.read_text("utf-8") not in seen
        assert list(read_matrix(changed).models)
        seen.add(changed.read_text("utf-8"))


def test_an_edit_of_another_line_fails(tmp_path: Path) -> None:
    """A demo of nothing would not show what it claims."""
    (tmp_path / "repro-gate.toml").write_text("\n[one]\na = 1\n[two]\nb = 2\n", "utf-8")
    Edit(table="one", before="a = 1", after="a = 3").apply(tmp_path)
    assert (tmp_path / "repro-gate.toml").read_text("utf-8") == "\n[one]\na = 3\n[two]\nb = 2\n"
    with pytest.raises(ValueError, match="no line 'b = 2'"):
        Edit(table="one", before="b = 2", after="b = 3").apply(tmp_path)


def test_a_removal_of_nothing_fails(tmp_path: Path) -> None:
    """As a golden that was never recorded cannot be removed."""
    (tmp_path / "snapshots").mkdir()
    with pytest.raises(ValueError, match="expected 1"):
        Removal(pattern="goldens/*/x.json").apply(tmp_path)


def test_smollm2_is_the_file_of_this_repository() -> None:
    """Its source and digest are those of the matrix, so that one download serves both."""
    model = read_matrix(ROOT / "repro-gate.toml").models["smollm2-135m"]
    assert (SMOLLM2.source, SMOLLM2.sha256) == (model.source, model.sha256)
