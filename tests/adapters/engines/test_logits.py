"""Digests of logits, asked through the adapter."""

import json
from pathlib import Path
from typing import Any

import pytest

from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import CellRun, Engine, TimedGeneration
from tests.fakes.driven_engine import validator
from tests.fakes.processes import DescribedEngineStarter, generated
from tests.fakes.values import cell_of

CELL = cell_of(max_tokens=4)
LOGITS = ["0123456789abcdef", "fedcba9876543210"]


def _generated(engine: Engine) -> TimedGeneration:
    return next(engine.generate([CellRun(cell=CELL, trace=False, logits=True)])).answer()


def test_each_token_has_the_digest_of_its_logits(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Only where they are asked for; the request has one key more."""
    engine = speaking_engine(generate={"logits": LOGITS}, log=str(tmp_path / "log"))
    assert _generated(engine).generation.logits == tuple(LOGITS)
    assert generated(engine, CELL, trace=False).generation.logits == ()

    requests = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [request["params"].get("logits") for request in requests] == [True, None]
    for request in requests:
        validator("request").validate(request)


def test_an_engine_without_logits_cannot_be_measured(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """It is not at fault, and continues; nothing weaker is compared."""
    engine = speaking_engine()
    with pytest.raises(MeasurementUnavailable, match="no digests of its logits") as caught:
        _generated(engine)
    assert not isinstance(caught.value, EngineFailed)
    assert caught.value.remedy == 'use an engine that does, or evidence = "tokens" in the suite'
    assert len(generated(engine, CELL, trace=False).generation.tokens) == 2


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([], "expected a digest for each token, found none"),
        (LOGITS[:1], "1 digests of logits for 2 tokens"),
        ([LOGITS[0], LOGITS[1].upper()], "16 digits in lower-case hex"),
        ([LOGITS[0], "0"], "16 digits in lower-case hex"),
        ([LOGITS[0], 7], "expected a string"),
        (None, "expected a list"),
        ([LOGITS[0]] * 2, "the digests of all 2 steps are equal"),
    ],
)
def test_invalid_digests_are_refused(
    speaking_engine: DescribedEngineStarter, logits: Any, message: str
) -> None:
    """Two tokens are not drawn from one vector of logits step after step."""
    with pytest.raises(EngineFailed, match=message):
        _generated(speaking_engine(generate={"logits": logits}))
