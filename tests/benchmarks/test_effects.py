"""The program that shows what a setting or sampler changes, and the tables that it made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.changes import CHANGES, OWN_TEST, Change, Expected
from benchmarks.effects import effect_of, is_expected, measure, report
from repro_gate.core.tokens.generation import Generation, Stop, Token, Trace
from repro_gate.samplers import BESIDE, PARAMETERS
from repro_gate.settings import SETTINGS
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES

_ROOT = Path(__file__).resolve().parents[2]
_REPORT = _ROOT / "docs" / "examples" / "effects" / "report.md"


def _generation(*tokens: int, logprob: float = -0.5) -> Generation:
    return Generation(
        prompt=(Token(1, b"a"),),
        tokens=tuple(Token(token, b"x") for token in tokens),
        stop=Stop.LENGTH,
        trace=Trace((logprob, [7, 8], [logprob, -3.0]) for _ in tokens),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model."""
    return make(RECIPES["tiny-qwen2"], tmp_path_factory.mktemp("models") / "model.gguf").path


def test_every_setting_and_every_sampler_has_a_row() -> None:
    """A new one cannot be forgotten."""
    names = {change.name for change in CHANGES}
    assert names == {*SETTINGS, "lora", "samplers", *PARAMETERS, *BESIDE}


def test_every_change_has_its_effect(model: Path) -> None:
    """With a tiny model; the rows that name another test need other weights."""
    effects = measure([change for change in CHANGES if change.test == OWN_TEST], model)
    assert [(change, effect) for change, effect in effects if not is_expected(change, effect)] == []


def test_the_published_report_has_every_row_with_an_expected_effect() -> None:
    """What the command printed last is about the present rows."""
    published = _REPORT.read_text("utf-8")
    effects = [line.split(" | ")[2] for line in published.splitlines() if line.startswith("| `")]
    pairs = list(zip(CHANGES, effects, strict=True))
    assert report(pairs) == published
    assert [pair for pair in pairs if not is_expected(*pair)] == []


def test_the_test_of_a_row_exists() -> None:
    """As a function of its file."""
    for change in CHANGES:
        file, name = change.test.split("::")
        assert f"\ndef {name}(" in (_ROOT / file).read_text("utf-8")


@pytest.mark.parametrize(
    ("after", "effect"),
    [
        (_generation(1, 2, 3), "none: equal to the last bit"),
        (_generation(1, 2, 3, logprob=-0.75), "log-probabilities move by 0.25"),
        (_generation(1, 4, 3), "output[1], 2 of 3 tokens equal"),
        (_generation(1, 2), "output[2], 2 of 3 tokens equal"),
        ("no memory", "refused: no memory"),
    ],
)
def test_an_effect_is_described(after: Generation | str, effect: str) -> None:
    """By the first other token, how many are equal, and how far log-probabilities move."""
    assert effect_of(_generation(1, 2, 3), after) == effect


@pytest.mark.parametrize(
    "change",
    [
        Change("threads", 2),
        Change("flash_attention", value=True, expected=Expected.NOTHING),
        Change("top_k", 5, expected=Expected.REFUSED),
        Change("min_keep", 10),
    ],
)
def test_another_effect_than_expected_is_found(model: Path, change: Change) -> None:
    """Whichever was expected."""
    assert not is_expected(*measure([change], model)[0])


def test_the_program_prints_what_was_asked_for(model: Path) -> None:
    """With the exit code of expected effects."""
    command = ["-m", "benchmarks.effects", "--model", str(model), "--only", "top_k,repack"]
    done = subprocess.run(
        [sys.executable, *command], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\| `(\w+)`", done.stdout, re.MULTILINE) == ["top_k", "repack"]
