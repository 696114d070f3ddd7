"""The example engines are engines: the one in a file of its own, and the one in Python."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from repro_gate.core.outcome import ExitCode
from repro_gate.protocol import Method, Refusal, request
from tests.docs.pages import ROOT, page
from tests.fakes.driven_engine import DrivenEngine

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_EXAMPLE = ROOT / "docs" / "examples" / "markov"
_IN_PYTHON = ROOT / "docs" / "examples" / "bytes" / "engine.py"
_CORPUS = str(_EXAMPLE / "corpus.txt")
_LOAD: dict[str, Any] = {
    "model": "corpus",
    "path": _CORPUS,
    "sha256": None,
    "device": "cpu",
    "settings": {},
}
_GENERATE: dict[str, Any] = {
    "prompt": "To bake bread",
    "seed": 42,
    "max_tokens": 10,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "trace": True,
}
_SCORE: dict[str, Any] = {"prompt": "To bake bread", "response": ", mix", "temperature": 0.5}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Return a copy of the example's folder, which is the folder of the test."""
    shutil.copytree(_EXAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(name="engine")
def _engine() -> Iterator[subprocess.Popen[str]]:
    """Start the example as the gate would."""
    command = [sys.executable, str(_EXAMPLE / "engine.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        yield engine


def _answer(engine: subprocess.Popen[str], line: str) -> Any:
    assert engine.stdin
    assert engine.stdout
    engine.stdin.write(f"{line}\n")
    engine.stdin.flush()
    answer = json.loads(engine.stdout.readline())
    schema = json.loads((ROOT / "repro_gate" / "schemas" / "engine-v1.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(answer)
    return answer


def _ask(engine: subprocess.Popen[str], method: Method, params: Mapping[str, Any]) -> Any:
    return _answer(engine, json.dumps(request(1, method, params)))


def test_a_check_passes_and_can_fail(example: Path, repro_gate: "CommandLine") -> None:
    """Recorded, the example matches; with a warm state it is nondeterministic."""
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    result = repro_gate("check", "-q")
    assert result.exit_code == ExitCode.PASSED, result.output

    matrix = example / "repro-gate.toml"
    matrix.write_text(matrix.read_text().replace("warm = false", "warm = true"))
    result = repro_gate("check", "-q")
    assert result.exit_code == ExitCode.FINDINGS
    assert "4 nondeterministic" in result.output


def test_answers_are_protocol_v1(engine: subprocess.Popen[str]) -> None:
    """Every answer of a conversation fits the published schema."""
    assert _ask(engine, Method.DESCRIBE, {"device": "cpu"})["result"]["profile"] == "markov-1"
    assert _ask(engine, Method.LOAD, _LOAD)["result"]["layers_on_device"] == 1
    generated = _ask(engine, Method.GENERATE, _GENERATE)["result"]
    assert len(generated["tokens"]) == len(generated["trace"]) == _GENERATE["max_tokens"]
    assert _ask(engine, Method.GENERATE, _GENERATE)["result"]["tokens"] == generated["tokens"]


def test_scores_agree_with_the_trace(engine: subprocess.Popen[str]) -> None:
    """The scores of generated tokens equal their trace, sent as text or as ids."""
    _ask(engine, Method.LOAD, _LOAD)
    generated = _ask(engine, Method.GENERATE, _GENERATE)["result"]
    text = bytes(token for token, _ in generated["tokens"]).decode()
    by_text = _ask(engine, Method.SCORE, _SCORE | {"response": text})["result"]
    ids = {part: [token for token, _ in by_text[part]] for part in ("prompt", "response")}
    by_ids = _ask(engine, Method.SCORE, {**ids, "temperature": 1})["result"]
    trace = [entry["logprob"] for entry in generated["trace"]]
    assert (by_text["prompt"], by_text["response"]) == (generated["prompt"], generated["tokens"])
    assert by_text["logprobs"] == by_ids["logprobs"] == pytest.approx(trace)
    assert by_ids["sampling_logprobs"] == by_ids["logprobs"] != by_text["sampling_logprobs"]


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        (Method.DESCRIBE, {"device": "cuda"}, Refusal.DEVICE_UNAVAILABLE),
        (Method.LOAD, _LOAD | {"sha256": "0" * 64}, Refusal.DIGEST_MISMATCH),
        (Method.LOAD, _LOAD | {"path": "/nowhere"}, Refusal.MODEL_INVALID),
        (Method.LOAD, _LOAD | {"settings": {"ordr": 2}}, Refusal.BAD_REQUEST),
        (Method.GENERATE, _GENERATE, Refusal.BAD_REQUEST),
        (Method.SCORE, _SCORE, Refusal.BAD_REQUEST),
    ],
)
def test_refusals_are_typed(
    engine: subprocess.Popen[str], method: Method, params: Mapping[str, Any], kind: Refusal
) -> None:
    """A refusal has the kind that explains it."""
    assert _ask(engine, method, params)["error"]["kind"] == kind


@pytest.mark.parametrize("part", ["chat", "sampling", "stop"])
def test_optional_parts_of_a_cell_are_refused(engine: subprocess.Popen[str], part: str) -> None:
    """An engine that ignored one would answer for another cell."""
    _ask(engine, Method.LOAD, _LOAD)
    cell = {**_GENERATE, part: {}}
    del cell["prompt"]

    message = "there are no chats, further samplers or stop strings"
    assert _ask(engine, Method.GENERATE, cell)["error"]["message"] == message


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"prompt": ""}, Refusal.BAD_REQUEST),
        ({"response": ""}, Refusal.BAD_REQUEST),
        ({"response": [256]}, Refusal.BAD_REQUEST),
        ({"response": "\0"}, Refusal.NOT_FINITE),
    ],
)
def test_a_response_without_a_finite_score_is_refused(
    engine: subprocess.Popen[str], change: Mapping[str, Any], kind: Refusal
) -> None:
    """A byte that never follows has no log-probability, and no token has none."""
    _ask(engine, Method.LOAD, _LOAD)
    assert _ask(engine, Method.SCORE, {**_SCORE, **change})["error"]["kind"] == kind


def test_what_is_no_request_is_answered(engine: subprocess.Popen[str]) -> None:
    """A line that is no JSON gets an error without an id."""
    answer = _answer(engine, "hello")
    assert (answer["id"], answer["error"]["kind"]) == (None, "bad_request")


def test_the_howto_shows_the_conversation(engine: subprocess.Popen[str]) -> None:
    """The conversation of the how-to has the messages of the example."""
    shown = "\n".join(page("docs/how-to/write-an-engine.md").blocks("text"))
    described = _ask(engine, Method.DESCRIBE, {"device": "cpu"})["result"]
    loaded = _ask(engine, Method.LOAD, _LOAD)["result"]
    tokens = _ask(engine, Method.GENERATE, _GENERATE)["result"]["tokens"]
    assert f'"profile": "{described["profile"]}"' in shown
    assert f'"size": {loaded["size"]}, "layers": 1' in shown
    assert f'"tokens": [{json.dumps(tokens[0])}' in shown


@pytest.fixture(name="in_python")
def _in_python(tmp_path: Path) -> Path:
    """Return the example in Python, as a file in the folder of the test."""
    return Path(shutil.copy(_IN_PYTHON, tmp_path / "engine.py"))


def test_a_check_of_the_engine_in_python_passes_and_can_fail(
    example: Path, in_python: Path, repro_gate: "CommandLine"
) -> None:
    """Recorded, it matches; with another model file it drifts."""
    assert in_python.parent == example
    matrix = example / "repro-gate.toml"
    text = matrix.read_text().replace('"python3"', json.dumps(sys.executable))
    matrix.write_text(text.replace("settings = { order = 2, warm = false }", "settings = {}"))
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    assert repro_gate("check", "-q").exit_code == ExitCode.PASSED

    corpus = example / "corpus.txt"
    corpus.write_text("Zebras! " * 200)
    digest = hashlib.sha256(corpus.read_bytes()).hexdigest()
    matrix.write_text(re.sub(r'sha256 = "\w+"', f'sha256 = "{digest}"', matrix.read_text()))
    result = repro_gate("check", "-q")
    assert result.exit_code == ExitCode.FINDINGS
    assert "4 drift" in result.output


def _with_source(example: Path, source: str) -> None:
    """Use the engine in Python, with a source without a pin."""
    matrix = example / "repro-gate.toml"
    text = matrix.read_text().replace('"python3"', json.dumps(sys.executable))
    text = text.replace("settings = { order = 2, warm = false }", "settings = {}")
    text = re.sub(r"sha256 = .*\n", "", text)
    matrix.write_text(text.replace('"corpus.txt"', json.dumps(source)))


def test_a_folder_is_pinned_as_a_whole(
    example: Path, in_python: Path, repro_gate: "CommandLine"
) -> None:
    """Any file of it counts, also one that changes no token, but no hidden one."""
    folder = example / "checkpoint"
    folder.mkdir()
    (example / "corpus.txt").rename(folder / "corpus.txt")
    (folder / "config.json").write_text("{}")
    _with_source(in_python.parent, "checkpoint")
    assert repro_gate("update-snapshots", "--yes").exit_code == ExitCode.PASSED
    (folder / ".lock").touch()
    assert repro_gate("check", "-q").exit_code == ExitCode.PASSED
    assert "is the pinned file" in repro_gate("models", "verify").output

    (folder / "config.json").write_text("{ }")

    result = repro_gate("check")
    assert result.exit_code == ExitCode.INCONCLUSIVE
    assert "digest_mismatch" in result.output
    assert "--repin corpus" in result.output
    assert "has the sha256" in repro_gate("models", "verify").output


@pytest.mark.parametrize("in_python_too", [False, True])
def test_an_engine_reads_all_parts(
    example: Path, in_python: Path, repro_gate: "CommandLine", *, in_python_too: bool
) -> None:
    """One that ignores the others is found by the size that it reports."""
    text = (example / "corpus.txt").read_bytes()
    for number, part in enumerate((text[:500], text[500:]), start=1):
        (example / f"corpus-0000{number}-of-00002.gguf").write_bytes(part)
    if not in_python_too:
        shutil.copy(_EXAMPLE / "engine.py", in_python)
    _with_source(example, "corpus-00001-of-00002.gguf")

    result = repro_gate("update-snapshots", "--yes")

    expected = ExitCode.PASSED if in_python_too else ExitCode.INCONCLUSIVE
    assert result.exit_code == expected, result.output
    assert ("it has read 500 bytes of a model of 1568" in result.output) is not in_python_too


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        (Method.DESCRIBE, {"device": "cuda"}, Refusal.DEVICE_UNAVAILABLE),
        (Method.DESCRIBE, {"device": "gpu"}, Refusal.BAD_REQUEST),
        (Method.LOAD, _LOAD | {"sha256": "0" * 64}, Refusal.DIGEST_MISMATCH),
        (Method.LOAD, _LOAD | {"path": "/nowhere"}, Refusal.MODEL_INVALID),
        (Method.LOAD, _LOAD | {"settings": {"order": 2}}, Refusal.BAD_REQUEST),
        (Method.GENERATE, _GENERATE, Refusal.BAD_REQUEST),
        (Method.GENERATE, _GENERATE | {"seed": True}, Refusal.BAD_REQUEST),
        (Method.SCORE, _SCORE, Refusal.BAD_REQUEST),
    ],
)
def test_refusals_of_the_engine_in_python_are_typed(
    in_python: Path, method: Method, params: dict[str, Any], kind: Refusal
) -> None:
    """The serving module reads requests and digests strictly, and no method is left out."""
    with closing(DrivenEngine({}, command=(sys.executable, str(in_python)))) as driven:
        assert driven.refusal(method, **params)[0] == kind
