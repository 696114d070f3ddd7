"""Any file is refused within seconds and 200 MB, by its name."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.bounded_reading import ANSWERS, READERS

_NAMES = {
    "matrix": "repro-gate.toml",
    "golden": "cpu-test/tiny--fox--seed1.json",
    "reference": "cpu-test/two-threads.json",
    "baseline": "policy--item.json",
    "pins": "models.json",
    "log": "draws.jsonl",
    "runs": "runs.jsonl",
    "model": "tiny.gguf",
    "report": "report.json",
    "observed": "report.json",
    "shard": "shard.json",
    **dict.fromkeys(ANSWERS, "answer.json"),
}


class Bounded:
    """Asks the program that reads in children."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.bounded_reading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def place(self, reader: str) -> Path:
        """Return where a file of a kind lies, in a folder where nothing is there yet."""
        place = self._folder / _NAMES[reader]
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)
        return place

    def read(self, reader: str, content: str | bytes | None = None) -> Any:
        """Return what reading came to, of a content or of what stands there."""
        place = self._folder / _NAMES[reader]
        if content is not None:
            self.place(reader).write_bytes(
                content.encode() if isinstance(content, str) else content
            )
        stdin, stdout = self._program.stdin, self._program.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"reader": reader, "path": str(place)}) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def refusal(self, reader: str, content: str | bytes | None = None) -> str:
        """Return the message of a refusal, without the name of the file before it."""
        answer = self.read(reader, content)
        assert list(answer or {}) == ["refused"], answer
        message = cast("str", answer["refused"])
        assert message.startswith(f"{self._folder / _NAMES[reader]}: ")
        assert len(message) < 1500
        assert message.isprintable()
        return message.removeprefix(f"{self._folder / _NAMES[reader]}: ")

    def close(self) -> None:
        """End the program."""
        with self._program as program:
            program.communicate()


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bounded]:
    """Return the program that reads."""
    with closing(Bounded(tmp_path_factory.mktemp("bounded"))) as program:
        yield program


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_waited_for(bounded: Bounded, reader: str) -> None:
    """It may never be written to."""
    os.mkfifo(bounded.place(reader))

    assert bounded.refusal(reader) == "expected a regular file, found a named pipe"


@pytest.mark.parametrize("reader", READERS)
def test_a_device_is_not_read(bounded: Bounded, reader: str) -> None:
    """It has no end."""
    bounded.place(reader).symlink_to("/dev/zero")

    assert bounded.refusal(reader) in {
        "expected a regular file, found a character device",
        "expected no symbolic link, found one",
    }


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_is_reported_as_one(bounded: Bounded, reader: str) -> None:
    """A path may be wrong; only a model may be a folder."""
    bounded.place(reader).mkdir()

    assert bounded.refusal(reader) == (
        "expected a folder with files, found an empty one"
        if reader == "model"
        else "expected a regular file, found a folder"
    )


@pytest.mark.parametrize("reader", READERS)
def test_a_socket_is_reported_as_one(
    bounded: Bounded, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's message for opening it would not help."""
    place = bounded.place(reader)
    monkeypatch.chdir(place.parent)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(place.name)

    assert bounded.refusal(reader) == "expected a regular file, found a socket"


@pytest.mark.parametrize("reader", ["matrix", "golden", "reference", "baseline", "pins", "model"])
def test_a_link_to_a_file_is_followed(bounded: Bounded, reader: str) -> None:
    """The user's own files may be links, as models often are."""
    place = bounded.place(reader)
    other = place.with_name("other")
    other.write_text("{}\n" if reader != "matrix" else "a = 1\n", "utf-8")
    place.symlink_to(other)

    answer = bounded.read(reader)
    assert answer is None or "regular file" not in answer["refused"]


_HEAD = """schema = "repro-gate/matrix/v1"
default_suites = ["quick"]
engines.e = {kind = "command", command = ["x"], settings = {}}
models.tiny = {engine = "e", source = "x"}
sampler = {top_k = 1, top_p = 1, min_p = 0}
prompts.a = {text = "a", temperature = 1, max_tokens = 1}
"""
_SUITE = "[suites.quick]\nruns = 2\nprompts = {tiny = ['a']}\n"
_MANY = 1 << 15
_EMOJI = "\N{LEAF FLUTTERING IN WIND}"
_LONG_KEY = "line 1: expected keys of at most 16 parts"
_LONG_WORD = "line 1: expected numbers and keys of at most 300"
_TOML: Mapping[str, tuple[str, str]] = {
    "one long dotted key": (
        ".".join("a" * 20_000) + " = 1",
        _LONG_KEY,
    ),
    "one long quoted key": (
        ".".join(['"a"'] * 20_000) + " = 1",
        _LONG_KEY,
    ),
    "one long spaced key": (
        " . ".join("a" * 20_000) + " = 1",
        _LONG_KEY,
    ),
    "a table of many parts": (
        "[" + ".".join("a" * 20_000) + "]",
        _LONG_KEY,
    ),
    "many deep keys": (
        "".join(f"{'.'.join(f'a{n}bcdefghijklmno')} = 1\n" for n in range(9_999)),
        "expected at most 60000 values",
    ),
    "numbers and their texts": (
        _HEAD + _SUITE + "seeds = [" + ", ".join(f"{n}, '{n}'" for n in range(1, 2_500)) + "]",
        "suites.quick.seeds[1]: expected an integer, found '1'",
    ),
    "many seeds, one twice": (
        f"{_HEAD}{_SUITE}seeds = [{', '.join(map(str, range(1, 50_000)))}, 7]",
        "suites.quick.seeds[49999]: expected no repeated entry, found 7",
    ),
    "too many cells": (
        _HEAD
        + "".join(f"prompts.a{n} = {{text='a', temperature=1, max_tokens=1}}\n" for n in range(999))
        + _SUITE.replace("'a'", ", ".join(f"'a{n}'" for n in range(999)))
        + f"seeds = {[*range(1, 20_000)]}\n",
        "suites.quick: expected at most 100000 cells, found 19979001",
    ),
    "a long number": (
        f"a = 0x{'f' * 3_000_000}",
        _LONG_WORD,
    ),
    "a long key": (f"{'a' * 3_000_000} = 1", _LONG_WORD),
    "a long quoted key": (f'"{"a" * 3_000_000}" = 1', "expected only the keys"),
    "deep lists": (f"a = {'[' * 50_000}", "expected TOML, found a value that is nested too deeply"),
    "many small tables": (f"a = [{'{},' * 800_000}]", "expected at most 60000 values"),
    "many tables": ("[[a]]\n" * 600_000, "expected at most 60000 values"),
    "many keys": ("".join(f"a{n} = 1\n" for n in range(50_000)), "expected only the keys"),
    "control characters": ("\x01" * 4_000_000, "line 1, column 1: expected a key, a table"),
    "a string of escapes": ('a = "' + "\\u0001" * 600_000 + '"', "expected only the keys"),
    "an open string": ('a = """' + "a." * 1_500_000, "expected a string that ends with its quotes"),
    "newlines": ("\n" * 4_000_000 + "?", "line 4000001, column 1: expected a key, a table"),
    "comments": ("#\n" * 2_000_000 + "?", "line 2000001, column 1: expected a key, a table"),
    "backslashes": ('"' + "\\" * 3_999_999, "expected an escape that TOML has"),
    "quotes": ('"' * 4_000_000, ""),
    "too large": (" " * (5 << 20), "expected at most 4194304 bytes, found 5242880"),
}


@pytest.mark.parametrize("name", _TOML)
def test_an_expensive_matrix_is_refused(bounded: Bounded, name: str) -> None:
    """Each is a small file that cost minutes or gigabytes."""
    content, message = _TOML[name]

    assert bounded.refusal("matrix", content).startswith(message)


_JSON: Mapping[str, tuple[str, str]] = {
    "an unknown key": (f'{{"{"a" * 7_000_000}": 1}}', "expected only the keys"),
    "a wide unknown key": (f'{{"{"a" * 7_000_000}{_EMOJI}": 1}}', "expected only the keys"),
    "control characters": ('{"' + "\\u0001" * 1_300_000 + '": 1}', "expected only the keys"),
    "raw control characters": (
        '["' + "\x01" * 7_000_000 + '"]',
        "line 1, column 3: expected control",
    ),
    "many unknown keys": (
        "{" + ",".join(f'"a{n}": 1' for n in range(9_000)) + "}",
        "expected only the keys",
    ),
    "deep lists": ("[" * 9_000, "expected JSON, found a value that is nested too deeply"),
    "deep tables": ('{"a":' * 9_000, "expected JSON, found a value that is nested too deeply"),
    "many lists": (f"[{'[],' * 2_500_000}[]]", "expected at most "),
    "many tables": ("[" + '{"a":1},' * 900_000 + "{}]", "expected at most "),
    "many commas": ("," * 8_000_000, "expected at most "),
    "a string of commas": (f'["{"," * 8_000_000}"]', "expected an object, found ["),
    "an open string": ('"' + "," * 8_000_000, "expected at most "),
    "a long number": ("9" * 8_000_000, "expected JSON, found a number of more than 4300 digits"),
    "a long fraction": ("0." + "9" * 8_000_000, "expected an object, found 1.0"),
    "one key many times": ("{" + '"a":1,' * 9_000 + '"a":1}', "expected JSON, found the key 'a'"),
    "half pairs": (
        '["' + "\\ud800" * 1_300_000 + '"]',
        "expected JSON, found a lone surrogate",
    ),
    "whole pairs": ('["' + "\\ud83c\\udf42" * 650_000 + '"]', "expected an object, found ["),
    "no UTF-8": ("[" + "\udcff" * 8, "byte 1: expected UTF-8"),
}


@pytest.mark.parametrize("reader", ["golden", "reference", "baseline", "pins"])
@pytest.mark.parametrize("name", _JSON)
def test_an_expensive_document_is_refused(bounded: Bounded, reader: str, name: str) -> None:
    """Each cost minutes or gigabytes, or gave a message as long as the file."""
    content, message = _JSON[name]

    data = content.encode("utf-8", errors="surrogateescape")
    refusal = bounded.refusal(reader, data)

    assert refusal.startswith((message, "expected at most 1048576 bytes"))


@pytest.mark.parametrize("reader", ["report", "observed", "shard", "log", "runs"])
@pytest.mark.parametrize("name", _JSON)
def test_an_expensive_result_is_refused(bounded: Bounded, reader: str, name: str) -> None:
    """It comes from another machine."""
    content, _ = _JSON[name]

    data = content.encode("utf-8", errors="surrogateescape")

    assert bounded.refusal(reader, data + b"\n")


def test_a_long_golden_with_an_invalid_token_is_refused(bounded: Bounded) -> None:
    """The first invalid token is named, without reading the others twice."""
    file = next(Path("snapshots/goldens").glob("*/*.json"))
    golden = json.loads(file.read_text("utf-8"))
    golden["tokens"] = ["1 a"] * 200_000 + [1, 2]

    message = bounded.refusal("golden", json.dumps(golden))

    assert message == (
        "tokens[200000]: expected a token id, a space and the text of the token; the id alone "
        "where its bytes are unknown, found 1"
    )


def test_a_long_reference_with_an_invalid_distance_is_refused(bounded: Bounded) -> None:
    """The first one is named."""
    cell = {"golden": "0" * 64, "distances": [0.25] * 200_000 + [1, 2], "kl_divergence": None}
    names = {"profile": "cpu-test", "variant": "two-threads", "measured_on": "cpu-test"}
    facts: dict[str, object] = {"repro_gate": "0", "change": {}, "provenance": {}}
    head = {"schema": "repro-gate/reference/v1", **names, **facts}

    message = bounded.refusal("reference", json.dumps({**head, "cells": {"a--b--seed1": cell}}))

    assert message.startswith("cells.a--b--seed1.distances[200000]: expected at most 0.5")


@pytest.mark.parametrize("line", ["[" * 9_000, "9" * 9_000, '{"a":' * 9_000, "x" * 40_000_000])
def test_an_expensive_draw_log_is_refused(bounded: Bounded, line: str) -> None:
    """Such as an endless line, or deep nesting."""
    assert bounded.refusal("log", f"{line}\n").split(": ", 1)[1].startswith("expected a draw")


_BIG = 15 << 20


def _keys() -> str:
    return ",".join(f'"{n:x}":"1"' for n in range(1_000_000))


_ANSWERS: Mapping[str, Callable[[], str]] = {
    "deep lists": lambda: "[" * _BIG,
    "deep tables": lambda: '{"a":' * (_BIG // 5),
    "many lists": lambda: f"[{'[],' * (_BIG // 3)}[]]",
    "many tables": lambda: "[" + '{"a":1},' * (_BIG // 8) + "{}]",
    "many commas": lambda: "," * _BIG,
    "many keys": lambda: f"{{{_keys()}}}",
    "many facts": lambda: f'{{"facts":{{{_keys()}}},"profile":"cpu","engine":"e"}}',
    "a long token": lambda: f'{{"prompt":[[1,"{"ab" * (_BIG // 2)}"]],"timing":{{}}}}',
    "many numbers": lambda: f'{{"choices":[{"1," * (_BIG // 2)}1]}}',
    "a long number": lambda: "9" * _BIG,
    "a long string": lambda: f'"{"," * _BIG}"',
    "a long wide string": lambda: f'"{"a" * (_BIG - 4)}{_EMOJI}"',
    "an open string": lambda: '"' + "," * _BIG,
    "a long error": lambda: f'{{"error":{{"message":"{"a" * _BIG}","code":[{"9" * 4_000}]}}}}',
    "many errors": lambda: f'{{"error":[{"[]," * (_BIG // 3)}[]]}}',
    "lines of a stream": lambda: "data: [" + "[]," * (_BIG // 3) + "[]]\n" * 20,
    "no UTF-8": lambda: "[" + "\udcff" * _BIG,
}


@pytest.mark.parametrize("reader", ANSWERS)
@pytest.mark.parametrize("name", _ANSWERS)
def test_an_expensive_answer_is_a_failure(bounded: Bounded, reader: str, name: str) -> None:
    """From an engine or a server that is broken or malicious."""
    content = _ANSWERS[name]()
    if reader in {"describe", "generate"} and content.startswith("{"):
        content = f'{{"protocol":"repro-gate/engine/v1","id":1,"result":{content}}}'

    answer = bounded.read(reader, content.encode("utf-8", errors="surrogateescape"))

    assert answer is None or list(answer) == ["refused"], answer
    assert answer is None or len(answer["refused"]) < 1_500


def test_an_answer_with_too_many_values_names_the_limit(bounded: Bounded) -> None:
    """Empty lists need twenty times their length when parsed."""
    content = "[" + "[]," * 600_000 + "[]]"

    assert [bounded.read(reader, content)["refused"] for reader in ("generate", "hosted")] == [
        "the engine answered 'generate' with more than 1000000 values",
        "test-host: an answer of more than 1000000 values is not read",
    ]


_WORDS = st.lists(
    st.sampled_from(
        [
            *"[]{}=.,:'\"\\#\n\t 0aé",
            '"""',
            "'''",
            "[[",
            "]]",
            "\\u",
            "0x",
            "1e",
            "inf",
            "true",
            "\x00",
        ]
    ),
    min_size=1,
    max_size=12,
).map("".join)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(st.tuples(_WORDS, st.integers(1, 30_000)), min_size=1, max_size=4),
    reader=st.sampled_from(["matrix", "golden", "log"]),
)
def test_no_repeated_text_is_expensive(
    bounded: Bounded, parts: list[tuple[str, int]], reader: str
) -> None:
    """Whatever is repeated is refused."""
    content = "".join(word * times for word, times in parts)[: 2 << 20]

    answer = bounded.read(reader, content)

    assert answer is None or list(answer) == ["refused"], answer
