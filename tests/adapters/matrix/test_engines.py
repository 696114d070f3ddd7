"""Engines of the matrix file, and the variants that change them."""

from pathlib import Path

import pytest

from repro_gate.adapters.matrix.engines import require_variants
from repro_gate.core.matrix import Variant
from repro_gate.core.tokens.grade import FailingDrift
from repro_gate.errors import InputInvalid
from tests.adapters.matrix.test_reader import OWN, matrix_from, refusal_of

_SUITE = ("[suites.quick]\n", "[suites.quick]\n")


def _with(text: str) -> tuple[str, str]:
    return "[sampler]\n", f"{text}\n[sampler]\n"


def test_variants_are_read(tmp_path: Path) -> None:
    """Other settings, or another engine."""
    matrix = matrix_from(
        tmp_path,
        _with("[variants.two]\nsettings = { threads = 2 }\n[variants.own]\nengine = 'own'"),
    )

    assert matrix.variants == {
        "two": Variant(name="two", settings={"threads": 2}),
        "own": Variant(name="own", engine=OWN),
    }


def _refusal(folder: Path, *changes: tuple[str, str]) -> str:
    """Return why the variants of a valid matrix cannot be recorded."""
    matrix, file = matrix_from(folder, *changes), folder / "repro-gate.toml"
    with pytest.raises(InputInvalid) as caught:
        require_variants(file, matrix, matrix.variants.values())
    return str(caught.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            "engine = 'exat'",
            "variants.v.engine: expected one of exact, own, found 'exat'; did you mean 'exact'?",
        ),
        ("settings = {}", "variants.v.settings: expected at least 1 entry, found 0"),
        ("", "variants.v: expected the key 'settings', found none"),
        ("setings = {}", "variants.v: expected only the keys engine, settings, found the unknown"),
        ("engine = 'own'\nsettings = { threads = 2 }", "variants.v.settings: expected no such key"),
        ("settings = { threads = nan }", "variants.v.settings.threads: expected true or false"),
        ("speed = 1\nengine = 'own'", "variants.v: expected "),
    ],
)
def test_a_variant_that_cannot_be_is_refused(tmp_path: Path, variant: str, message: str) -> None:
    """With its place, what was expected and what was found."""
    assert refusal_of(tmp_path, _with(f"[variants.v]\n{variant}")).startswith(message)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            "settings = { thread = 2 }",
            "variants.v.settings: expected ",
        ),
        (
            "settings = { kv_type = 'q8_0' }",
            (
                "variants.v.settings.kv_type: expected f32, f16 or bf16, or flash_attention = "
                "true, which llama.cpp then needs beside the other settings of exact, found q8_0"
            ),
        ),
        (
            "settings = { n_batch = 512 }",
            (
                "variants.v.settings.n_batch: expected at most n_ctx, which is 256 beside the "
                "other settings of exact, found 512"
            ),
        ),
    ],
)
def test_a_variant_that_an_engine_refuses_is_not_recorded(
    tmp_path: Path, variant: str, message: str
) -> None:
    """A matrix may name it: engines change after references are recorded."""
    assert _refusal(tmp_path, _with(f"[variants.v]\n{variant}")).startswith(message)


@pytest.mark.parametrize(
    "variant", ["engine = 'exact'", "settings = { threads = 1, n_ubatch = 128 }"]
)
def test_an_engine_may_have_a_variant_already(tmp_path: Path, variant: str) -> None:
    """It is what made the drift that the recorded reference grades."""
    assert list(matrix_from(tmp_path, _with(f"[variants.v]\n{variant}")).variants) == ["v"]


def test_a_variant_leaves_room_for_every_output(tmp_path: Path) -> None:
    """As the engines of the models do."""
    found = _refusal(
        tmp_path,
        ("max_tokens = 4", "max_tokens = 300"),
        ("n_ctx = 256", "n_ctx = 512"),
        _with("[variants.v]\nsettings = { n_ctx = 256, n_batch = 128 }"),
    )

    assert found == (
        "variants.v: expected room for an output of 300 tokens of tiny, found 255 tokens for "
        "prompt and output"
    )


@pytest.mark.parametrize(
    ("keys", "fail_on", "against"),
    [
        ("", FailingDrift.ANY, None),
        ("kind = 'tokens'\nfail_on = 'drift'", FailingDrift.ANY, None),
        ("fail_on = 'beyond-rounding'", FailingDrift.BEYOND_ROUNDING, None),
        ("kind = 'reference'\nagainst = 'cpu-a'", FailingDrift.BEYOND_ROUNDING, "cpu-a"),
        (
            "kind = 'reference'\nagainst = 'cpu-a'\nfail_on = 'beyond-rounding'",
            FailingDrift.BEYOND_ROUNDING,
            "cpu-a",
        ),
    ],
)
def test_a_suite_has_what_fails_it(
    tmp_path: Path, keys: str, fail_on: FailingDrift, against: str | None
) -> None:
    """Every drift by default; of a suite against a profile one beyond rounding."""
    suite = matrix_from(tmp_path, (_SUITE[0], f"{_SUITE[0]}{keys}\n")).suites["quick"]

    assert (suite.fail_on, suite.against) == (fail_on, against)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("kind = 'reference'", "suites.quick: expected the key 'against', found none"),
        ("against = 'cpu-a'", "suites.quick.against: expected no such key"),
        ("kind = 'reference'\nagainst = 'A'", "suites.quick.against: expected a name of lower"),
        (
            "kind = 'reference'\nagainst = 'cpu-a'\nfail_on = 'drift'",
            "suites.quick.fail_on: expected 'beyond-rounding', found 'drift'",
        ),
        (
            "kind = 'reference'\nagainst = 'cpu-a'\nevidence = 'logits'",
            "suites.quick.evidence: expected 'tokens', found 'logits'",
        ),
        (
            "fail_on = 'beyond'",
            "suites.quick.fail_on: expected one of drift, beyond-rounding, found 'beyond'",
        ),
    ],
)
def test_what_fails_a_suite_is_refused_where_it_has_no_sense(
    tmp_path: Path, keys: str, message: str
) -> None:
    """With its place."""
    assert refusal_of(tmp_path, (_SUITE[0], f"{_SUITE[0]}{keys}\n")).startswith(message)
