"""`score`, asked through the adapter; invalid answers are not used."""

import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import Scored, ScoreRequest
from tests.fakes.processes import DescribedEngineStarter, scored

BY_TEXT = ScoreRequest(prompt="Say", response=" 7 8")
BY_IDS = ScoreRequest(prompt=(1, 2), response=(7, 8))
SAMPLING = ScoreRequest(prompt="Say", response=" 7 8", temperature=0.5)
ENCODING = Encoding(
    prompt=(Piece(1, b"Say"), Piece(2, b"")), response=(Piece(7, b" 7"), Piece(8, b" 8"))
)


@pytest.mark.parametrize("asked", [BY_TEXT, BY_IDS])
def test_a_score_has_tokens_values_and_time(
    speaking_engine: DescribedEngineStarter, asked: ScoreRequest
) -> None:
    """Tokens with their bytes, one value per token of the response, and the time."""
    assert scored(speaking_engine(), asked) == Scored(
        encoding=ENCODING, logprobs=(-0.5, -0.25), sampling_logprobs=None, engine_s=0.25
    )


def test_a_temperature_adds_sampling_values(speaking_engine: DescribedEngineStarter) -> None:
    """They come in addition to the raw ones."""
    found = scored(speaking_engine(), SAMPLING)

    assert (found.logprobs, found.sampling_logprobs) == ((-0.5, -0.25), (-1.0, -0.5))


def test_the_requests_are_those_of_the_protocol(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """A temperature is sent only when needed, and each request matches the schema."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    for asked in (BY_TEXT, BY_IDS, SAMPLING):
        scored(engine, asked)

    requests = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [(request["method"], request["params"]) for request in requests] == [
        ("score", {"prompt": "Say", "response": " 7 8"}),
        ("score", {"prompt": [1, 2], "response": [7, 8]}),
        ("score", {"prompt": "Say", "response": " 7 8", "temperature": 0.5}),
    ]
    schema = json.loads(files("repro_gate.schemas").joinpath("engine-v1.json").read_text("utf-8"))
    validator = Draft202012Validator({**schema, "oneOf": [{"$ref": "#/$defs/score_request"}]})
    for request in requests:
        validator.validate(request)


def test_a_value_above_0_is_left_to_the_judge(speaking_engine: DescribedEngineStarter) -> None:
    """It is a number, so the draw is invalid, but the engine follows the protocol."""
    assert scored(speaking_engine(score={"logprobs": [0.5, -1]}), BY_TEXT).logprobs == (0.5, -1.0)


def test_an_engine_without_scores_has_not_failed(speaking_engine: DescribedEngineStarter) -> None:
    """Refusing the method is not a failure."""
    error = {"kind": "bad_request", "message": "there is no method 'score'"}

    with pytest.raises(MeasurementUnavailable, match=r"^bad_request: there is no method 'score'$"):
        scored(speaking_engine(answer={"error": error}), BY_TEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"logprobs": [-0.5]},
        {"logprobs": [-0.5, -0.5, -0.5]},
        {"logprobs": []},
        {"logprobs": None},
        {"logprobs": 7},
        {"logprobs": "ab"},
        {"logprobs": {"0": -1, "1": -1}},
        {"logprobs": [-0.5, None]},
        {"logprobs": [-0.5, "-0.5"]},
        {"logprobs": [-0.5, True]},
        {"logprobs": [-0.5, math.nan]},
        {"logprobs": [-0.5, -math.inf]},
        {"logprobs": [-0.5, -(10**400)]},
        {"sampling_logprobs": [-0.5, -0.5]},
        {"sampling_logprobs": None},
        {"response": []},
        {"response": None},
        {"response": [[7, "20"], [8, "2"]]},
        {"response": [[7, "20"], [-8, "20"]]},
        {"response": [[7, "20"], [8.0, "20"]]},
        {"response": [[7, "20"]]},
        {"prompt": []},
        {"prompt": None},
        {"prompt": [[1]]},
        {"timing": None},
        {"timing": {}},
        {"timing": {"decode_s": -1}},
        {"timing": {"decode_s": math.nan}},
    ],
)
def test_an_invalid_answer_is_refused(
    speaking_engine: DescribedEngineStarter, change: Mapping[str, Any]
) -> None:
    """Each token of the response has one finite value, and times are not negative."""
    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'score' breaks protocol v1"):
        scored(speaking_engine(score=change), BY_TEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": [[1, ""]]},
        {"prompt": [[1, ""], [3, ""]]},
        {"prompt": [[2, ""], [1, ""]]},
        {"prompt": [[0, ""], [1, ""], [2, ""]]},
        {"response": [[7, ""], [9, ""]]},
        {"response": [[8, ""], [7, ""]]},
    ],
)
def test_other_ids_than_were_sent_are_refused(
    speaking_engine: DescribedEngineStarter, change: Mapping[str, Any]
) -> None:
    """An engine that adds or changes ids has scored something else."""
    with pytest.raises(EngineFailed, match="the tokens are not those that were sent"):
        scored(speaking_engine(score=change), BY_IDS)


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_logprobs": [-0.5]},
        {"sampling_logprobs": None},
        {"sampling_logprobs": [-0.5, math.inf]},
    ],
)
def test_sampling_values_are_checked_like_raw_ones(
    speaking_engine: DescribedEngineStarter, change: Mapping[str, Any]
) -> None:
    """One finite value per token of the response."""
    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'score' breaks protocol v1"):
        scored(speaking_engine(score=change), SAMPLING)


@pytest.mark.parametrize("key", ["prompt", "response", "logprobs", "sampling_logprobs", "timing"])
def test_a_score_with_a_missing_key_is_refused(
    speaking_engine: DescribedEngineStarter, key: str
) -> None:
    """The message names the missing key."""
    with pytest.raises(EngineFailed, match=f"^the engine's answer to 'score' breaks.*'{key}'"):
        scored(speaking_engine(without=[key]), SAMPLING)
