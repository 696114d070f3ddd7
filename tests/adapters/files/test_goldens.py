"""Goldens on disk."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from repro_gate.adapters.files.golden_writer import SyrupyGoldens, serialize
from repro_gate.adapters.files.snapshots import GoldenFiles, golden_text
from repro_gate.core.tokens.generation import Choice, Generation, Stop, Token
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import InputInvalid
from tests.fakes.counting import calls_in, system_calls_in
from tests.fakes.strategies import finite, four_decimals, goldens
from tests.fakes.values import PROFILE, cell_of, golden_of

GOLDEN = Golden(
    cell=cell_of("haiku", seed=7),
    profile=PROFILE,
    generation=Generation(
        prompt=(Token(1, b"Say"), Token(2, b" haiku")),
        tokens=(Token(10, b"\n"), Token(11, b'\xff\x00 \\ "'), Token(12, "🍂".encode())),
        stop=Stop.END_OF_GENERATION,
        trace=(
            Choice(logprob=-0.1234, best=((10, -0.1234), (3, -2.5))),
            Choice(logprob=0.0, best=((11, 0.0),)),
            Choice(logprob=-9.0, best=()),
        ),
    ),
    provenance={"device.name": "TEST", "model.sha256": "0a" * 32},
)
TEXT = r"""{
  "cell": {
    "max_tokens": 4,
    "model": "tiny",
    "prompt": "haiku",
    "sampler": {
      "min_p": 0.05,
      "temperature": 0.7,
      "top_k": 40,
      "top_p": 0.95
    },
    "seed": 7,
    "text": "Say haiku"
  },
  "profile": "cpu-test",
  "prompt_tokens": [
    "1 Say",
    "2  haiku"
  ],
  "provenance": {
    "device.name": "TEST",
    "model.sha256": "DIGEST"
  },
  "schema": "repro-gate/golden/v1",
  "stop": "end_of_generation",
  "text": "\\n\\xff\\x00 \\\\ \"🍂",
  "tokens": [
    "10 \\n",
    "11 \\xff\\x00 \\\\ \"",
    "12 🍂"
  ],
  "trace": [
    "-0.1234 | 10:-0.1234 3:-2.5000",
    "0.0000 | 11:0.0000",
    "-9.0000 |"
  ]
}
""".replace("DIGEST", "0a" * 32)


def names_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_a_golden_is_readable(tmp_path: Path) -> None:
    """One token per line, with its id and text, followed by its provenance."""
    SyrupyGoldens(tmp_path).write(GOLDEN)

    assert names_below(tmp_path) == ["cpu-test/tiny--haiku--seed7.json"]
    assert (tmp_path / "cpu-test/tiny--haiku--seed7.json").read_text("utf-8") == TEXT


def test_a_golden_is_read_back(tmp_path: Path) -> None:
    """Nothing is lost."""
    SyrupyGoldens(tmp_path).write(GOLDEN)

    assert GoldenFiles(tmp_path).read(PROFILE, GOLDEN.cell.id) == GOLDEN


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(golden=goldens(four_decimals))
def test_every_golden_is_read_back(golden: Golden) -> None:
    """Whatever the model generates and the machine is called."""
    with tempfile.TemporaryDirectory() as folder:
        store = SyrupyGoldens(Path(folder))
        store.write(golden)

        assert store.recorded(golden.profile) == {golden.cell.id}
        assert store.read(golden.profile, golden.cell.id) == golden


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(golden=goldens(finite))
def test_a_check_writes_the_bytes_of_syrupy(golden: Golden) -> None:
    """Without importing it; so the two formats cannot part."""
    assert golden_text(golden) == serialize(golden)


def test_goldens_are_separated_by_profile(tmp_path: Path) -> None:
    """Goldens of other profiles are not visible."""
    store = SyrupyGoldens(tmp_path)
    store.write(golden_of(cell_of("haiku"), profile="cpu"))
    store.write(golden_of(cell_of("fox"), profile="gpu"))

    assert store.profiles() == {"cpu", "gpu"}
    assert {profile: store.recorded(profile) for profile in ("cpu", "gpu", "tpu")} == {
        "cpu": {"tiny--haiku--seed42"},
        "gpu": {"tiny--fox--seed42"},
        "tpu": frozenset(),
    }


def test_a_repository_without_goldens_has_none_recorded(tmp_path: Path) -> None:
    """That is not an error."""
    goldens_there = GoldenFiles(tmp_path / "no")

    assert (goldens_there.profiles(), goldens_there.recorded(PROFILE)) == (frozenset(), frozenset())


def test_other_files_are_not_goldens(tmp_path: Path) -> None:
    """Hidden and temporary files, and those of other types, are ignored."""
    (tmp_path / PROFILE).mkdir()
    for name in (".a.json", ".x.json.k3j2.tmp", "README.md"):
        (tmp_path / PROFILE / name).touch()

    assert GoldenFiles(tmp_path).profiles() == frozenset()
    assert GoldenFiles(tmp_path).recorded(PROFILE) == frozenset()


def test_an_invalid_profile_name_is_refused(tmp_path: Path) -> None:
    """It comes from an engine or a download, and must not reach other folders."""
    folder, elsewhere = tmp_path / "goldens", tmp_path / "elsewhere"
    SyrupyGoldens(folder).write(GOLDEN)
    elsewhere.mkdir()
    for profile in ("../elsewhere", str(elsewhere), "a\x00b", "x" * 300):
        store = SyrupyGoldens(folder)
        for use in (
            partial(store.remove, profile, cell_of().id),
            partial(store.read, profile, cell_of().id),
            partial(store.recorded, profile),
        ):
            with pytest.raises(InputInvalid, match="profile: expected a name, found "):
                use()

    assert names_below(tmp_path) == ["goldens/cpu-test/tiny--haiku--seed7.json"]


def test_a_folder_with_an_invalid_name_is_not_a_profile(tmp_path: Path) -> None:
    """It is ignored."""
    (tmp_path / "Put aside").mkdir()
    (tmp_path / "Put aside" / "x.json").touch()

    assert GoldenFiles(tmp_path).profiles() == frozenset()


def test_a_golden_is_removed(tmp_path: Path) -> None:
    """Others of the profile stay."""
    store = SyrupyGoldens(tmp_path)
    store.write(golden_of(cell_of("haiku")))
    store.write(golden_of(cell_of("fox")))

    store.remove(PROFILE, cell_of("fox").id)

    assert names_below(tmp_path) == [f"{PROFILE}/tiny--haiku--seed42.json"]


@pytest.mark.parametrize(
    ("data", "count", "refused"),
    [
        (b"a" * 4096, 2_100, "expected at most 8388608 bytes; {remedy}, found 17224753"),
        (b"a", 250_000, "expected at most 250000 values; {remedy}, found more of them"),
    ],
)
def test_a_golden_too_large_to_read_is_not_written(
    tmp_path: Path, data: bytes, count: int, refused: str
) -> None:
    """The old golden stays, and the message says what to change."""
    store = SyrupyGoldens(tmp_path)
    store.write(GOLDEN)
    generation = Generation(
        prompt=GOLDEN.generation.prompt, tokens=(Token(7, data),) * count, stop=Stop.LENGTH
    )

    with pytest.raises(InputInvalid) as caught:
        store.write(replace(GOLDEN, generation=generation))

    remedy = "lower max_tokens, or shorten the prompt"
    file = store.file(PROFILE, GOLDEN.cell.id)
    assert str(caught.value).startswith(f"{file}: {refused.format(remedy=remedy)}")
    assert store.read(PROFILE, GOLDEN.cell.id) == GOLDEN


def test_a_golden_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file in place of the folder is an `OSError` for the caller."""
    (tmp_path / PROFILE).touch()

    with pytest.raises(OSError, match="File exists"):
        SyrupyGoldens(tmp_path).write(GOLDEN)


def refusal_of(
    folder: Path,
    change: Callable[[str], str],
    *,
    profile: str = PROFILE,
    cell_id: str = GOLDEN.cell.id,
) -> str:
    """Return the message for a golden with changed text."""
    store = SyrupyGoldens(folder)
    file = store.file(profile, cell_id)
    file.parent.mkdir()
    file.write_text(change(TEXT), "utf-8")
    with pytest.raises(InputInvalid) as caught:
        store.read(profile, cell_id)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '  "tokens": [',
            '<<<<<<< HEAD\n  "tokens": [',
            (
                "line 27: expected a file without conflict markers, "
                "found a conflict marker of git; resolve the conflict"
            ),
        ),
        ('"seed": 7', '"seed": NaN', "expected JSON, found NaN, which is not a number in JSON"),
        (
            '"seed": 7',
            '"seed": 7, "seed": 7',
            "expected JSON, found the key 'seed' twice in one object",
        ),
        (
            "golden/v1",
            "golden/v2",
            "schema: expected 'repro-gate/golden/v1', found 'repro-gate/golden/v2'",
        ),
        ('"seed": 7', '"seed": 0', "cell.seed: expected at least 1, found 0"),
        ('"seed": 7', '"seed": 7.0', "cell.seed: expected an integer, found 7.0"),
        (
            '"temperature": 0.7',
            '"temperature": 1e999',
            "cell.sampler.temperature: expected a finite number, found inf",
        ),
        (
            '"temperature": 0.7',
            f'"temperature": {10**400}',
            "expected a consistent golden, found int too large to convert to float",
        ),
        (
            "end_of_generation",
            "eos",
            "stop: expected one of length, end_of_generation, stop_string, found 'eos'",
        ),
        (
            '"stop"',
            '"stopp"',
            (
                "expected only the keys cell, content, logits, profile, prompt_tokens, provenance, "
                "rendered, schema, stop, stop_string, text, tokens, trace, "
                "found the unknown key 'stopp'; did you mean 'stop'?"
            ),
        ),
        (
            '"12 🍂"',
            '"x"',
            (
                "tokens[2]: expected a token id, a space and the text of the token; the id alone "
                "where its bytes are unknown, found 'x'"
            ),
        ),
        (
            '"12 🍂"',
            '"12 🍁"',
            "expected a consistent golden, found 'text' is not the text of 'tokens'",
        ),
        (
            r"\"🍂",
            r"\"🍁",
            "expected a consistent golden, found 'text' is not the text of 'tokens'",
        ),
        (
            '"12 🍂"',
            r'"12 \\q"',
            r"expected a consistent golden, found a backslash that starts no escape in '\\q'",
        ),
        (
            '"-9.0000 |"',
            '"-inf |"',
            (
                "trace[2]: expected a log-probability, a bar and the best alternatives as "
                "ID:LOGPROB, found '-inf |'"
            ),
        ),
        (
            '    "-9.0000 |"',
            '    "-9.0000 |",\n    "-9.0000 |"',
            "expected a consistent golden, found 4 trace entries for 3 tokens",
        ),
        (
            '"cpu-test"',
            '"gpu-test"',
            "profile: expected 'cpu-test', found 'gpu-test'",
        ),
        (
            '"prompt": "haiku"',
            '"prompt": "fox"',
            ("cell: expected the cell tiny--haiku--seed7, found the cell tiny--fox--seed7"),
        ),
    ],
)
def test_an_invalid_golden_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Merge conflicts, typos and goldens of other cells are reported."""
    assert TEXT.count(old) in {1, 2}

    assert refusal_of(tmp_path, lambda text: text.replace(old, new, 1)) == message


def test_the_golden_of_another_cell_under_this_name_is_refused(tmp_path: Path) -> None:
    """Renaming a file does not make it the golden of another cell."""
    message = refusal_of(tmp_path, str, cell_id="tiny--haiku--seed8")

    assert (
        message == "cell: expected the cell tiny--haiku--seed8, found the cell tiny--haiku--seed7"
    )


def test_the_golden_of_another_profile_in_this_folder_is_refused(tmp_path: Path) -> None:
    """Copying a folder does not make goldens for another profile."""
    message = refusal_of(tmp_path, str, profile="gpu-test")

    assert message == "profile: expected 'gpu-test', found 'cpu-test'"


@pytest.mark.parametrize("part", list(json.loads(TEXT)))
def test_a_golden_without_a_key_is_refused(tmp_path: Path, part: str) -> None:
    """Every key is required."""

    def without_part(text: str) -> str:
        document: dict[str, Any] = json.loads(text)
        del document[part]
        return json.dumps(document)

    assert refusal_of(tmp_path, without_part) == f"expected the key '{part}', found none"


@pytest.mark.parametrize("size", [0, 1, 100, len(TEXT.encode()) - 3])
def test_a_truncated_golden_is_refused(tmp_path: Path, size: int) -> None:
    """At whatever position it ends."""
    message = refusal_of(tmp_path, lambda text: text.encode()[:size].decode())

    assert message.endswith(("found an empty file", "found the end of the file"))


def test_reading_a_golden_takes_few_steps_and_one_open_file(tmp_path: Path) -> None:
    """A validator with messages would take ten times as many, and so would its trace."""
    tokens = tuple(Token(number, b" word") for number in range(25))
    trace = tuple(Choice(logprob=-1.0, best=tuple((n, -1.0) for n in range(5))) for _ in tokens)
    generation = replace(GOLDEN.generation, tokens=tokens, trace=trace)
    golden = replace(GOLDEN, generation=generation)
    store = SyrupyGoldens(tmp_path)
    store.write(golden)
    read = partial(store.read, PROFILE, golden.cell.id)
    # Schemas are compiled at the first one.
    assert read() == golden

    files = Counter(name for name in system_calls_in(read) if name in {"open", "stat", "scandir"})

    assert (files, calls_in(read) < 20 * len(tokens)) == ({"open": 1, "stat": 1}, True)
