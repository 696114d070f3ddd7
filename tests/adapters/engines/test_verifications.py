"""`verify`, asked through the adapter; invalid answers are not used."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from repro_gate.core.tokens.verification import Share, VerifiedToken
from repro_gate.errors import EngineFailed
from repro_gate.ports import Engine, Verified, VerifyRequest
from repro_gate.samplers import Sampling
from tests.fakes.processes import DescribedEngineStarter
from tests.fakes.values import cell_of

CELL = cell_of("fox")
ASKED = VerifyRequest(cell=CELL, prompt=(1, 2), tokens=(7, 8))
TOKEN = VerifiedToken(
    id=7,
    logprob=-1.5,
    best=((3, -0.5), (7, -1.5)),
    drawn=3,
    uniform=0.25,
    share=Share(low=0.5, high=0.75),
    drawn_share=Share(low=0.0, high=0.5),
)
ENTRY: dict[str, Any] = {
    "logprob": -1.5,
    "best": [[3, -0.5]],
    "drawn": 3,
    "uniform": None,
    "share": None,
    "drawn_share": [0, 1],
}


def _verified(engine: Engine, asked: VerifyRequest = ASKED) -> Verified:
    return next(engine.verify([asked])).answer()


def test_a_verification_has_an_entry_for_each_claimed_token(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """In the order of the claim, with the time."""
    assert _verified(speaking_engine()) == Verified(
        verification=(TOKEN, replace(TOKEN, id=8)), engine_s=0.25
    )


def test_unknown_numbers_and_impossible_tokens_are_none(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """The protocol has null for both."""
    asked = replace(ASKED, tokens=(7,))
    (found,) = _verified(speaking_engine(verify={"tokens": [ENTRY]}), asked).verification
    assert (found.uniform, found.share, found.drawn_share) == (None, None, Share(low=0, high=1))


def test_the_requests_are_those_of_the_protocol(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Each matches the schema, with further samplers where the cell has them."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    sampling = Sampling.parse({"ignore_eos": True})
    further = replace(CELL, sampler=replace(CELL.sampler, sampling=sampling))
    for cell in (CELL, further):
        _verified(engine, replace(ASKED, cell=cell))

    plain, more = (json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines())
    assert plain["params"] == {
        "prompt": [1, 2],
        "tokens": [7, 8],
        "best": 5,
        "seed": CELL.seed,
        "temperature": CELL.sampler.temperature,
        "top_k": CELL.sampler.top_k,
        "top_p": CELL.sampler.top_p,
        "min_p": CELL.sampler.min_p,
    }
    assert more["params"] == {**plain["params"], "sampling": {"ignore_eos": True}}
    schema = json.loads(files("repro_gate.schemas").joinpath("engine-v1.json").read_text("utf-8"))
    validator = Draft202012Validator({**schema, "oneOf": [{"$ref": "#/$defs/verify_request"}]})
    for request in (plain, more):
        validator.validate(request)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [ENTRY],
        [ENTRY] * 3,
        [ENTRY, {**ENTRY, "uniform": 2}],
        [ENTRY, {**ENTRY, "uniform": "0"}],
        [ENTRY, {**ENTRY, "share": [0.5]}],
        [ENTRY, {**ENTRY, "share": [0.5, 0.25]}],
        [ENTRY, {**ENTRY, "share": [0.5, 1.25]}],
        [ENTRY, {**ENTRY, "drawn": -1}],
        [ENTRY, {**ENTRY, "best": [[1]]}],
        [ENTRY, {**ENTRY, "best": 5}],
        [ENTRY, {**ENTRY, "logprob": None}],
        [ENTRY, {"logprob": -1}],
        [ENTRY, 7],
        "none",
    ],
)
def test_an_invalid_answer_is_a_fault_of_the_engine(
    speaking_engine: DescribedEngineStarter, tokens: object
) -> None:
    """Nothing of it is used."""
    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'verify' breaks protocol v1"):
        _verified(speaking_engine(verify={"tokens": tokens}))
