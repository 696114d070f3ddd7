"""Answers that break protocol v1: the engine is killed, and the answer is not used."""

import math
from pathlib import Path
from typing import Any

import pytest

from repro_gate.errors import EngineFailed
from repro_gate.ports import ModelFile
from tests.fakes.processes import DescribedEngineStarter, generated, is_running
from tests.fakes.values import cell_of, model_spec_of

CELL = cell_of(max_tokens=2)
FILE = ModelFile(path=Path("/models/tiny.gguf"), sha256=None)
GOOD_CHOICE = {"logprob": -0.5, "best": [[7, -0.5], [0, -1.5]]}


@pytest.mark.parametrize(
    "raw",
    [
        "llama_model_loader: loaded meta data",
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"protocol": "repro-gate/engine/v1", "id": 1}',
        '{"protocol": "repro-gate/engine/v1", "id": 1, "result": []}',
        '{"protocol": "repro-gate/engine/v1", "id": 1, "result": null}',
        '{"id": 1, "result": {}}',
    ],
)
def test_a_line_that_is_not_an_answer_is_quoted(
    speaking_engine: DescribedEngineStarter, raw: str
) -> None:
    """Whatever a library prints to stdout is quoted, so that it can be found."""
    with pytest.raises(EngineFailed) as caught:
        speaking_engine(raw=raw).describe()

    assert str(caught.value) == (
        f"the engine answered 'describe' with something that is not protocol v1: {raw}"
    )


def test_the_quote_is_escaped_and_bounded(speaking_engine: DescribedEngineStarter) -> None:
    """Garbage can neither clear the screen nor fill it."""
    with pytest.raises(EngineFailed) as caught:
        speaking_engine(raw="\x1b[2J" + "é" * 9_000).describe()

    # 120 bytes: 4 of the escape, 58 characters of two bytes each.
    assert str(caught.value).endswith(f"not protocol v1: \\x1b[2J{'é' * 58}")


def test_deep_nesting_breaks_the_protocol(failing_engine: DescribedEngineStarter) -> None:
    """A hundred thousand brackets exceed the parser's depth, and the gate survives."""
    with pytest.raises(EngineFailed, match="not protocol v1"):
        failing_engine("nest").describe()


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 2},
        {"id": None},
        {"id": "1"},
        {"protocol": "repro-gate/engine/v2"},
        {"protocol": None},
        {"error": "boom"},
        {"error": ["boom"]},
        {"error": {}},
        {"error": {"kind": "internal"}},
        {"error": {"message": "boom"}},
        {"error": {"kind": "internal", "message": None}},
        {"error": {"kind": 7, "message": "boom"}},
    ],
)
def test_an_answer_to_another_request_breaks_the_protocol(
    speaking_engine: DescribedEngineStarter, answer: dict[str, Any]
) -> None:
    """So does another protocol, or an error without a kind and a message."""
    with pytest.raises(EngineFailed, match="not protocol v1"):
        speaking_engine(answer=answer).describe()


def test_two_answers_to_one_request_are_noticed(speaking_engine: DescribedEngineStarter) -> None:
    """The extra line is read as the next answer, whose id it does not have."""
    good = '{"protocol": "repro-gate/engine/v1", "id": 1, "result": {"engine": "e", '
    good += '"profile": "p", "facts": {}}}'
    engine = speaking_engine(raw=f"{good}\none too many")
    engine.describe()

    with pytest.raises(EngineFailed, match=r"not protocol v1: one too many$"):
        engine.describe()


def test_an_engine_that_breaks_the_protocol_is_killed(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """It must not use the device while its replacement runs."""
    engine = speaking_engine(facts="pid", without=["tokens"])
    pid = int(engine.describe().facts["pid"])

    with pytest.raises(
        EngineFailed, match=r"^the engine's answer to 'generate' breaks protocol v1"
    ):
        generated(engine, CELL, trace=False)

    assert not is_running(pid)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        None,
        7,
        "20",
        {"7": "20"},
        [7],
        [[7]],
        [[7, "20", 0]],
        [[-1, "20"]],
        [[7.0, "20"]],
        [[True, "20"]],
        [["7", "20"]],
        [[None, "20"]],
        [[math.inf, "20"]],
        [[7, "2"]],
        [[7, "2 0"]],
        [[7, "2G"]],
        [[7, "0A"]],
        [[7, "20\n"]],
        [[7, None]],
        [[7, 20]],
        [[7, "20"], [8, "20"], [9, "20"]],
    ],
)
def test_invalid_tokens_are_refused(
    speaking_engine: DescribedEngineStarter, tokens: object
) -> None:
    """A token is an integer and lower-case hex; there is at least one, and at most max_tokens."""
    with pytest.raises(
        EngineFailed, match=r"^the engine's answer to 'generate' breaks protocol v1"
    ):
        generated(speaking_engine(generate={"tokens": tokens}), CELL, trace=False)


@pytest.mark.parametrize("prompt", [[], None, [[-1, ""]], [[1, "x"]]])
def test_invalid_prompt_tokens_are_refused(
    speaking_engine: DescribedEngineStarter, prompt: object
) -> None:
    """The tokens of the prompt are compared too, so they are checked like the others."""
    with pytest.raises(
        EngineFailed, match=r"^the engine's answer to 'generate' breaks protocol v1"
    ):
        generated(speaking_engine(generate={"prompt": prompt}), CELL, trace=False)


@pytest.mark.parametrize(
    "trace",
    [
        None,
        7,
        [GOOD_CHOICE],
        [GOOD_CHOICE] * 3,
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": math.nan}],
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": -math.inf}],
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": 10**400}],
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": "-0.5"}],
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": None}],
        [GOOD_CHOICE, GOOD_CHOICE | {"logprob": True}],
        [GOOD_CHOICE, GOOD_CHOICE | {"best": [[7, math.nan]]}],
        [GOOD_CHOICE, GOOD_CHOICE | {"best": [[-7, -0.5]]}],
        [GOOD_CHOICE, GOOD_CHOICE | {"best": [[math.inf, -0.5]]}],
        [GOOD_CHOICE, GOOD_CHOICE | {"best": [7]}],
        [GOOD_CHOICE, GOOD_CHOICE | {"best": None}],
        [GOOD_CHOICE, {"logprob": -0.5}],
        [GOOD_CHOICE, "x"],
    ],
)
def test_an_invalid_trace_is_refused(
    speaking_engine: DescribedEngineStarter, trace: object
) -> None:
    """A log-probability is a finite number, and there is one entry per token."""
    with pytest.raises(
        EngineFailed, match=r"^the engine's answer to 'generate' breaks protocol v1"
    ):
        generated(speaking_engine(generate={"trace": trace}), CELL, trace=True)


@pytest.mark.parametrize(
    "change",
    [
        {"stop": "eos"},
        {"stop": None},
        {"timing": None},
        {"timing": []},
        {"timing": {"decode_s": 1.0}},
        {"timing": {"decode_s": math.nan, "sample_s": 0}},
        {"timing": {"decode_s": math.inf, "sample_s": 0}},
        {"timing": {"decode_s": -1, "sample_s": 0}},
        {"timing": {"decode_s": -1, "sample_s": 2}},
        {"timing": {"decode_s": 1e300, "sample_s": 0}},
        {"timing": {"decode_s": "1", "sample_s": 0}},
    ],
)
def test_an_invalid_stop_or_timing_is_refused(
    speaking_engine: DescribedEngineStarter, change: dict[str, Any]
) -> None:
    """A generation has a known stop reason, and times whose sum over a check is finite."""
    with pytest.raises(
        EngineFailed, match=r"^the engine's answer to 'generate' breaks protocol v1"
    ):
        generated(speaking_engine(generate=change), CELL, trace=False)


@pytest.mark.parametrize("key", ["prompt", "tokens", "stop", "timing"])
def test_a_generation_with_a_missing_key_is_refused(
    speaking_engine: DescribedEngineStarter, key: str
) -> None:
    """The message names the missing key."""
    with pytest.raises(EngineFailed) as caught:
        generated(speaking_engine(without=[key]), CELL, trace=False)

    assert str(caught.value) == (
        f"the engine's answer to 'generate' breaks protocol v1: the key '{key}' is missing"
    )


FILE_STATE = {"device": 1, "inode": 2, "size": 3, "modified_ns": 4, "changed_ns": 5}


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": None},
        {"sha256": "x"},
        {"sha256": "5A" * 32},
        {"sha256": "5a" * 32 + "\n"},
        {"layers": None},
        {"layers": "4"},
        {"layers": 4.0},
        {"layers": math.inf},
        {"layers_on_device": None},
        {"layers_on_device": math.nan},
        {"layers": True, "layers_on_device": True},
        {"facts": None},
        {"concurrency": None},
        {"concurrency": 0},
        {"concurrency": 1025},
        {"concurrency": True},
        {"concurrency": 2.0},
        {"room_for_another": 1},
        {"room_for_another": None},
        {"file": None},
        {"file": FILE_STATE | {"inode": -1}},
        {"file": FILE_STATE | {"size": 1.0}},
        {"file": FILE_STATE | {"device": 2**64}},
        {"file": {"device": 1}},
    ],
)
def test_an_invalid_load_answer_is_refused(
    speaking_engine: DescribedEngineStarter, change: dict[str, Any]
) -> None:
    """A loaded model has a digest, which may be pinned, and numbers in their range."""
    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'load' breaks protocol v1"):
        speaking_engine(load=change).load(model_spec_of(), FILE)


@pytest.mark.parametrize(
    ("key", "can"),
    [
        ("sha256", ["restart", "no_bytes"]),
        ("layers", ["concurrent", "no_bytes"]),
        ("layers_on_device", []),
    ],
)
def test_only_an_engine_with_a_server_may_leave_out_the_model(
    speaking_engine: DescribedEngineStarter, key: str, can: list[str]
) -> None:
    """Another one would hide which model it is, if it did not start the server, or where."""
    engine = speaking_engine(without=[key], describe={"can": can})
    engine.describe()

    with pytest.raises(EngineFailed, match=f"breaks protocol v1: the key '{key}' is missing$"):
        engine.load(model_spec_of(), FILE)


@pytest.mark.parametrize(
    "change",
    [
        *({"sha256": value} for value in (None, "", "x", "5A" * 32)),
        *({"layers": value} for value in (None, "4", 4.0, True)),
        {"facts": None},
    ],
)
def test_a_remote_engine_reports_the_model_rightly_or_not_at_all(
    speaking_engine: DescribedEngineStarter, change: dict[str, Any]
) -> None:
    """A null or a word in place of a value is not left out."""
    engine = speaking_engine(describe={"can": ["remote"]}, load=change)
    engine.describe()

    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'load' breaks protocol v1"):
        engine.load(model_spec_of(), FILE)


def test_half_of_the_layers_is_refused(speaking_engine: DescribedEngineStarter) -> None:
    """Their number says nothing without that of those on the device."""
    engine = speaking_engine(without=["layers"], describe={"can": ["remote"]})
    engine.describe()

    with pytest.raises(EngineFailed, match=r"breaks protocol v1: the key 'layers' is missing$"):
        engine.load(model_spec_of(), FILE)


@pytest.mark.parametrize("instance", [None, "", 7, ["a"]])
def test_an_invalid_instance_is_refused(
    speaking_engine: DescribedEngineStarter, instance: object
) -> None:
    """It is a text, which shows a restart."""
    with pytest.raises(EngineFailed, match="breaks protocol v1: instance: "):
        speaking_engine(load={"instance": instance}).load(model_spec_of(), FILE)


@pytest.mark.parametrize(
    "can",
    [None, "remote", {"remote": True}, [1], [None], ["fly"], ["REMOTE"], ["remote", "remote"]],
)
def test_unknown_abilities_are_refused(
    speaking_engine: DescribedEngineStarter, can: object
) -> None:
    """An ability that the gate does not know could change what a pass means."""
    with pytest.raises(EngineFailed, match=r"breaks protocol v1: can(\[0\])?: expected "):
        speaking_engine(describe={"can": can}).describe()


@pytest.mark.parametrize(
    "change",
    [
        *({"cached_tokens": value} for value in (None, -1, 1.0, "1", True)),
        *({"running": value} for value in (None, 0, -1, 1.0, "1", True)),
    ],
)
def test_invalid_counts_of_a_run_are_refused(
    speaking_engine: DescribedEngineStarter, change: dict[str, Any]
) -> None:
    """They are whole numbers: of tokens from 0, of requests from 1."""
    with pytest.raises(EngineFailed, match=f"breaks protocol v1: {next(iter(change))}: expected "):
        generated(speaking_engine(generate=change), CELL, trace=False)


@pytest.mark.parametrize("part", ["prompt", "tokens"])
def test_a_token_without_bytes_needs_an_engine_that_may_lack_them(
    speaking_engine: DescribedEngineStarter, part: str
) -> None:
    """Other engines would lose a part of the comparison unnoticed."""
    engine = speaking_engine(generate={part: [[7, None]]}, describe={"can": ["remote"]})
    engine.describe()

    with pytest.raises(EngineFailed, match=rf'{part}: a token without bytes, .* "no_bytes"$'):
        generated(engine, CELL, trace=False)


@pytest.mark.parametrize("key", ["engine", "profile", "facts"])
def test_a_description_with_a_missing_key_is_refused(
    speaking_engine: DescribedEngineStarter, key: str
) -> None:
    """An engine without a name or a profile cannot be compared with anything."""
    with pytest.raises(EngineFailed, match=f"breaks protocol v1: the key '{key}' is missing$"):
        speaking_engine(without=[key]).describe()


@pytest.mark.parametrize("notes", ["text", {"a": 1}, [1], [""], ["x"] * 21])
def test_notes_that_are_not_a_list_of_texts_break_the_protocol(
    speaking_engine: DescribedEngineStarter, notes: object
) -> None:
    """A note is a text, and an answer has at most 20 of them."""
    with pytest.raises(EngineFailed, match="breaks protocol v1"):
        speaking_engine(load={"notes": notes}).load(model_spec_of(), FILE)


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ([7, "61" * 4097], "a token of more than 4096 bytes"),
        ([10**4000, "61"], "expected a 64-bit integer, found a very large number"),
    ],
)
def test_an_oversized_token_is_refused(
    speaking_engine: DescribedEngineStarter, token: list[Any], fault: str
) -> None:
    """It would be recorded in a golden that no check can read."""
    with pytest.raises(EngineFailed) as caught:
        generated(speaking_engine(generate={"tokens": [token]}), CELL, trace=False)

    assert str(caught.value) == (f"the engine's answer to 'generate' breaks protocol v1: {fault}")


def test_too_many_facts_are_refused(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """Each of them would be copied into every golden and report."""
    facts = {f"fact{number}": "1" for number in range(201)}

    with pytest.raises(EngineFailed, match=r"breaks protocol v1: more than 200 facts$"):
        speaking_engine(load={"facts": facts}).load(model_spec_of(), FILE)
