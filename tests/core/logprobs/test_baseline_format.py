"""A baseline file has every draw, and a digest against edits."""

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from repro_gate.core.logprobs.baseline import Baseline, Noise
from repro_gate.core.logprobs.baseline_format import from_data, is_intact, to_data
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.logprobs.sessions import CalibrationSession
from repro_gate.core.text import digest_of
from tests.fakes.baseline_strategies import any_baselines, baselines
from tests.fakes.scoring import MODEL, NOW, baseline_of, item_of, policy_of

SCHEMA = json.loads(files("repro_gate.schemas").joinpath("baseline-v1.json").read_text("utf-8"))
CELL = LogprobCell(policy=policy_of(), item=item_of("fox"))
BASELINE = baseline_of(
    CELL,
    [(-1.5, -0.25), (-1.0, -0.25), (-1.5, -0.25)],
    encoding=Encoding(
        prompt=(Piece(1, b"Say"), Piece(2, b" fox\n")),
        response=(Piece(None, b" f\xf0"), Piece(None, b"ox")),
    ),
    facts=(
        DrawFacts(at=NOW, model=MODEL, request_id="r-1", latency_s=0.125, headers={}),
        DrawFacts(at=NOW, model=MODEL, request_id="r-2", headers={"cf-ray": "\x1b[2J"}),
        DrawFacts(at=NOW, model=MODEL, attempts=3),
    ),
)
DATA = to_data(BASELINE)


def call(**changes: object) -> dict[str, Any]:
    """Return what is written of a call."""
    usual = {"at": NOW, "model": MODEL, "request_id": "", "latency_s": 0.0, "attempts": 1}
    return {**usual, "headers": None, **changes}


def test_a_baseline_file_is_readable() -> None:
    """A token is a line, equal draws are one entry, and each call keeps its facts."""
    content = {
        "schema": "repro-gate/baseline/v1",
        "id": "base--fox",
        "source": "test-provider",
        "definition": dict(CELL.definition),
        "prompt_tokens": ["1 Say", "2  fox\\n"],
        "response_tokens": ["-  f\\xf0", "- ox"],
        "draws": [
            {"draws": [1, 3], "total": -1.75, "logprobs": [-1.5, -0.25]},
            {"draws": [2], "total": -1.25, "logprobs": [-1.0, -0.25]},
        ],
        "calls": [
            call(request_id="r-1", latency_s=0.125, headers={}),
            call(request_id="r-2", headers={"cf-ray": "\\x1b[2J"}),
            call(attempts=3),
        ],
        "noise": {
            "center": -1.75,
            "scale": 0.0,
            "deviation": 0.288675,
            "atom": 0.666667,
            "floor": 8.0,
        },
        "answered_as": MODEL,
        "provenance": {"provider": "test-provider", "model": MODEL},
        "recorded_at": NOW,
    }

    assert {**content, "digest": digest_of(content)} == DATA


@given(baselines())
def test_a_baseline_is_read_as_it_was_written(baseline: Baseline) -> None:
    """At the precision of the file nothing at all is lost, JSON included."""
    data = json.loads(json.dumps(to_data(baseline)))

    assert is_intact(data)
    assert from_data(data) == baseline


@given(any_baselines())
def test_writing_again_changes_nothing(baseline: Baseline) -> None:
    """Whatever is rounded is rounded the first time, and the noise is that of what is written."""
    data = to_data(baseline)

    assert to_data(from_data(data)) == data


@given(any_baselines())
def test_every_baseline_obeys_the_published_schema(baseline: Baseline) -> None:
    """The gate can read back whatever baseline it may ever write."""
    jsonschema.validate(to_data(baseline), SCHEMA)


def test_the_noise_is_that_of_the_rounded_draws() -> None:
    """A finer number than the file keeps would contradict it."""
    finer = replace(BASELINE, draws=((-1.0000004, -2.0), (-1.0, -2.0), (-1.0, -2.0)))

    assert from_data(to_data(finer)).noise == Noise(
        center=-3.0, scale=0.0, deviation=0.0, atom=1.0, floor=8.0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response_tokens": ["- a"]}, r"'draws\[0\]' has 2 log-probabilities for 1 tokens"),
        ({"response_tokens": []}, "a response must have at least one token"),
        ({"response_tokens": ["x a", "- b"]}, r"'response_tokens\[0\]' is not an id or a dash"),
        ({"prompt_tokens": ["1 a", "-2 b"]}, r"'prompt_tokens\[1\]' is not an id or a dash"),
        ({"prompt_tokens": ["1 \\"]}, "a backslash that starts no escape"),
        ({"id": "base--ox"}, "'id' is base--ox, and 'definition' is that of base--fox"),
        ({"calls": [call()]}, "1 calls for 3 draws"),
        ({"calls": [call(latency_s=float("inf"))] * 3}, "latency_s must be finite, got inf"),
        ({"calls": [call(latency_s=-1)] * 3}, "latency_s must be at least 0, got -1"),
        ({"calls": [call(request_id="\\q")] * 3}, "a backslash that starts no escape"),
        ({"answered_as": "\\q"}, "a backslash that starts no escape"),
        ({"provenance": {"\\q": ""}}, "a backslash that starts no escape"),
        ({"noise": {**DATA["noise"], "center": -1.7}}, "'noise.center' is -1.7, and the draws"),
        ({"noise": {**DATA["noise"], "atom": 1.0}}, "'noise.atom' is 1.0, and the draws give 0.66"),
        ({"noise": {**DATA["noise"], "floor": 8.00000001}}, "'noise.floor' is 8.00000001"),
    ],
)
def test_a_contradiction_is_refused(change: dict[str, Any], message: str) -> None:
    """Contradictory data of the right schema raises a ValueError with the reason."""
    with pytest.raises(ValueError, match=message):
        from_data({**DATA, **change})


def sessions_of(*draws: int, starts: str = "2026-01-02") -> dict[str, Any]:
    """Return what is written of sessions an hour apart."""
    sessions = [
        {"started_at": f"{starts}T0{hour}:04:05+00:00", "draws": each}
        for hour, each in enumerate(draws)
    ]
    return {"sessions": sessions}


def test_a_baseline_of_one_session_has_no_list_of_sessions() -> None:
    """Old files stay as they are, and their draws are of the one session that was recorded."""
    assert "sessions" not in DATA
    assert BASELINE.all_sessions == (CalibrationSession(started_at=NOW, draws=3),)


def test_a_baseline_keeps_its_sessions() -> None:
    """Each has its start and its number of draws."""
    data = {**DATA, **sessions_of(2, 1)}
    baseline = from_data(data)

    assert [each.draws for each in baseline.all_sessions] == [2, 1]
    assert to_data(baseline)["sessions"] == data["sessions"]
    jsonschema.validate(to_data(baseline), SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (sessions_of(3), "at least two and account for each draw, but 1 have 3 of 3"),
        (sessions_of(2, 2), "account for each draw, but 2 have 4 of 3 draws"),
        (sessions_of(1, 2, starts="2026-01-03"), "at 2026-01-03T01:04:05.* comes before 2026-01-0"),
        (sessions_of(1, 2, starts="noon"), "Invalid isoformat string: 'noonT0"),
        ({"sessions": [*sessions_of(1, 2)["sessions"][::-1]]}, "2026-01-02T01.* comes before"),
        (sessions_of(0, 3), "draws must be at least 1, got 0"),
    ],
)
def test_sessions_that_contradict_the_draws_are_refused(
    change: dict[str, Any], message: str
) -> None:
    """They are in order, before the file was written, and of all of its draws."""
    with pytest.raises(ValueError, match=message):
        from_data({**DATA, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logprobs": [-1.5, 0.25]}, r"'draws\[0\].logprobs\[1\]' is no log-probability: 0.25"),
        ({"logprobs": [-1e160, -2.0]}, r"logprobs\[0\]' is no log-probability: -1e\+160"),
        ({"logprobs": [float("-inf"), 0]}, r"logprobs\[0\]' is no log-probability: -inf"),
        ({"logprobs": [-1.5, float("nan")]}, r"logprobs\[1\]' is no log-probability: nan"),
        ({"total": -1.7}, r"'draws\[0\].total' is -1.7, and its sum is -1.75"),
        ({"draws": [1, 2]}, r"not numbered from 1 on, each once: \[1, 2, 2\]"),
        ({"draws": [1, 4]}, r"not numbered from 1 on, each once: \[1, 2, 4\]"),
        ({"draws": [2, 3]}, r"not numbered from 1 on, each once: \[2, 2, 3\]"),
    ],
)
def test_invalid_draws_are_refused(change: dict[str, Any], message: str) -> None:
    """Each draw is there once, whole, and adds up."""
    first, second = DATA["draws"]
    with pytest.raises(ValueError, match=message):
        from_data({**DATA, "draws": [{**first, **change}, second]})


def test_an_edit_is_noticed() -> None:
    """One that is consistent in itself does not have the digest of what was recorded."""
    edited = {**DATA, "recorded_at": "2027-01-01T00:00:00+00:00"}

    assert is_intact(DATA)
    assert not is_intact(edited)
    assert not is_intact({**DATA, "digest": "0" * 64})


def test_a_number_that_json_cannot_say_has_no_digest() -> None:
    """It could not be written down."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"x": float("inf")})


def test_a_digest_is_of_the_content_and_not_of_its_order() -> None:
    """Two ways to write the same thing are one thing."""
    assert digest_of({"a": 1, "b": "é"}) == digest_of(json.loads('{"b": "\\u00e9", "a":1}'))
    assert digest_of({"a": [1, 2]}) != digest_of({"a": [2, 1]})
