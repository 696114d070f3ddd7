"""The log of an update loses no run, and gives back none that no longer holds."""

import json
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repro_gate
from repro_gate.adapters.logs.append_only import AppendLog
from repro_gate.adapters.logs.runs import RunLogFile
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Conditions, FactChange
from repro_gate.core.tokens.judge import Repetition
from repro_gate.errors import InputInvalid, MeasurementUnavailable
from tests.fakes.killed import lines_until_killed
from tests.fakes.strategies import cells, facts, finite, names, traced_generations
from tests.fakes.values import PROFILE, answer_to, cell_of, generation_of, provenance_of

NOW = "2026-01-01T00:00:00+00:00"
FOX = cell_of("fox")
HAIKU = cell_of("haiku")


def conditions_of(cell: Cell = FOX, **changes: Any) -> Conditions:
    """Return the conditions of three runs, the last one in a fresh process."""
    usual = Conditions(
        cell=cell, runs=3, fresh_runs=1, profile=PROFILE, facts=provenance_of(cell.model)
    )
    return replace(usual, **changes)


def opened(folder: Path, *, resume: bool = True) -> "closing[RunLogFile]":
    """Return the log of a folder, which is closed after use."""
    return closing(RunLogFile(folder / "runs.jsonl", started_at=NOW, resume=resume))


def repeated(*runs: Generation, had_neighbours: bool = False) -> list[Repetition]:
    """Return the repetition after each run; the third one is in a fresh process."""
    found = [Repetition(first=runs[0], first_had_neighbours=had_neighbours)]
    for number, run in enumerate(runs[1:], start=2):
        found.append(found[-1].with_run(run, in_fresh_process=number > 2))
    return found


SAME = repeated(*[answer_to(FOX)] * 3)
"""Three equal runs."""


def log_with(folder: Path, *notes: tuple[Conditions, Repetition]) -> Path:
    """Write a log of these runs."""
    with opened(folder, resume=False) as log:
        for conditions, repetition in notes:
            log.note(conditions, repetition)
    return folder / "runs.jsonl"


def known_in(folder: Path, conditions: Conditions | None = None) -> Repetition | None:
    """Return the runs that a resumed log has."""
    with opened(folder) as log:
        return log.known(conditions or conditions_of())


def refusal_of(folder: Path) -> str:
    """Return the message for a log that cannot be resumed."""
    with pytest.raises(InputInvalid) as caught:
        known_in(folder)
    return str(caught.value).removeprefix(f"{folder / 'runs.jsonl'}: ")


def test_a_log_has_a_header_the_facts_and_a_line_for_each_run(tmp_path: Path) -> None:
    """Only the first run of a cell has its tokens and what they depend on."""
    file = log_with(tmp_path, *((conditions_of(), each) for each in SAME))

    header, provenance, first, *later = map(json.loads, file.read_text("ascii").splitlines())
    assert header == {
        "schema": "repro-gate/runs/v1",
        "tool": {"name": "repro-gate", "version": repro_gate.__version__},
        "started_at": NOW,
    }
    assert provenance == {"kind": "provenance", "number": 1, "facts": provenance_of("tiny")}
    assert (first["kind"], first["cell"]["text"]) == ("first_run", FOX.text)
    assert later == [
        {"kind": "later_run", "cell": FOX.id, "run": run, "difference": None} for run in (2, 3)
    ]


def test_equal_facts_are_written_once(tmp_path: Path) -> None:
    """Each first run has the number of its facts, after an interruption too."""
    other = conditions_of(HAIKU, facts={"fact": "other"})
    fox = conditions_of(replace(FOX, seed=7))
    file = log_with(tmp_path, (conditions_of(), SAME[0]), (other, SAME[0]), (fox, SAME[0]))
    with opened(tmp_path) as log:
        log.note(conditions_of(HAIKU), SAME[0])

    lines = map(json.loads, file.read_text("ascii").splitlines())
    numbers = [(line.get("number"), line.get("provenance")) for line in lines]
    first, second = (1, None), (2, None)
    assert numbers == [(None, None), first, (None, 1), second, (None, 2), (None, 1), (None, 1)]
    for conditions in (conditions_of(), fox, conditions_of(HAIKU)):
        assert known_in(tmp_path, conditions) == SAME[0]


@settings(deadline=None)
@given(
    conditions=st.builds(
        Conditions,
        cell=cells,
        runs=st.just(4),
        fresh_runs=st.integers(0, 3),
        profile=names,
        facts=facts,
    ),
    runs=st.lists(traced_generations(finite), min_size=1, max_size=2),
    order=st.lists(st.integers(0, 1), min_size=1, max_size=4),
    had_neighbours=st.booleans(),
)
def test_every_run_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    conditions: Conditions,
    runs: list[Generation],
    order: list[int],
    *,
    had_neighbours: bool,
) -> None:
    """Whatever the cell, its tokens and their log-probabilities, and the run that differs."""
    folder = tmp_path_factory.mktemp("runs")
    made = [runs[index % len(runs)] for index in order]
    repetitions = repeated(*made, had_neighbours=had_neighbours)
    log_with(folder, *((conditions, each) for each in repetitions))

    assert known_in(folder, conditions) == repetitions[-1]


def test_a_resumed_log_is_continued(tmp_path: Path) -> None:
    """It knows the earlier runs, and takes the later ones."""
    log_with(tmp_path, (conditions_of(), SAME[0]))
    with opened(tmp_path) as log:
        assert (log.cells, log.runs) == (1, 1)
        log.note(conditions_of(), SAME[1])

    assert known_in(tmp_path) == SAME[1]


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    """Without --resume earlier runs are deleted."""
    log_with(tmp_path, (conditions_of(), SAME[0]))
    log_with(tmp_path)

    assert known_in(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"cell": replace(FOX, text="Other")}, ("text", FOX.text, "Other")),
        ({"cell": cell_of("fox", max_tokens=9)}, ("max_tokens", str(FOX.max_tokens), "9")),
        ({"runs": 4}, ("runs", "3", "4")),
        ({"fresh_runs": 2}, ("fresh_runs", "1", "2")),
        ({"profile": "other"}, ("profile", PROFILE, "other")),
        (
            {"facts": {**provenance_of("tiny"), "model.sha256": "00"}},
            ("model.sha256", provenance_of("tiny")["model.sha256"], "00"),
        ),
        ({"facts": {**provenance_of("tiny"), "setting.n": "2"}}, ("setting.n", None, "2")),
    ],
)
def test_runs_under_other_conditions_are_not_taken(
    tmp_path: Path, changes: dict[str, Any], changed: tuple[str, str | None, str]
) -> None:
    """Each part of the conditions counts, and the change is known."""
    log_with(tmp_path, (conditions_of(), SAME[0]))
    name, before, after = changed

    with opened(tmp_path) as log:
        assert log.known(conditions_of(**changes)) is None
        assert log.remeasured == [(FOX.id, (FactChange(name=name, before=before, after=after),))]
    assert known_in(tmp_path) == SAME[0]


def test_a_cell_that_is_measured_again_replaces_its_runs(tmp_path: Path) -> None:
    """The last first run counts, and the number of runs starts again."""
    other = conditions_of(profile="other")
    log_with(tmp_path, (conditions_of(), SAME[0]), (conditions_of(), SAME[1]), (other, SAME[0]))

    assert known_in(tmp_path, other) == SAME[0]
    assert known_in(tmp_path) is None


def test_a_log_that_is_torn_anywhere_keeps_the_runs_before(tmp_path: Path) -> None:
    """A kill or a crash may cut the last line at any byte; it is cut off when resumed."""
    file = log_with(tmp_path, *((conditions_of(), each) for each in SAME[:2]))
    whole = file.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        # Without the header and the facts.
        count = max(0, sum(end <= size for end in ends) - 2)

        assert known_in(tmp_path) == [None, *SAME][count]
        with opened(tmp_path) as log:
            for each in SAME[count:]:
                log.note(conditions_of(), each)
        assert known_in(tmp_path) == SAME[2]


def test_zeros_of_a_crash_are_a_torn_line(tmp_path: Path) -> None:
    """Some file systems leave them where data did not reach the disk."""
    file = log_with(tmp_path, (conditions_of(), SAME[0]))
    with file.open("ab") as stream:
        stream.write(bytes(4096))

    assert known_in(tmp_path) == SAME[0]
    assert b"\0" not in file.read_bytes()


_CASES: dict[str, tuple[list[int | bytes], str]] = {
    "no JSON": ([0, b"{"], "line 2: expected a run as it was recorded, found the end of the line"),
    "another kind": (
        [0, b'{"kind":"x"}'],
        "line 2: kind: expected one of provenance, first_run, later_run",
    ),
    "no facts": ([0, 2], "line 2: provenance: expected the number of an earlier line, found 1"),
    "facts with the number of others": ([0, 1, 1], "line 3: number: expected 2, found 1"),
    "no first run": ([0, 1, 3], "line 3: run: expected the first run of its cell, found 2"),
    "the same run twice": ([0, 1, 2, 3, 3], "line 5: run: expected the next of 3 runs, found 2"),
    "a run left out": ([0, 1, 2, 4], "line 4: run: expected the next of 3 runs, found 3"),
    "too many runs": (
        [0, 1, 2, 3, 4, b'{"kind":"later_run","cell":"tiny--fox--seed42","run":4}'],
        "line 6: run: expected the next of 3 runs, found 4",
    ),
    "no header": ([1], "line 1: expected the key 'schema', found none"),
    "a log of draws": (
        [b'{"schema":"repro-gate/draws/v1"}'],
        "line 1: schema: expected 'repro-gate/runs/v1'",
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_an_invalid_line_is_named(tmp_path: Path, case: str) -> None:
    """The file may be from anywhere: every line has to be one that an update writes."""
    file = log_with(tmp_path, *((conditions_of(), each) for each in SAME))
    known = file.read_bytes().splitlines()
    lines, message = _CASES[case]
    file.write_bytes(
        b"".join((known[line] if isinstance(line, int) else line) + b"\n" for line in lines)
    )

    assert refusal_of(tmp_path).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provenance": 0}, "provenance: expected the number of an earlier line, found 0"),
        ({"provenance": 2}, "provenance: expected the number of an earlier line, found 2"),
        ({"trace": {"logprobs": [], "ids": [[1]], "values": []}}, "expected a run as it was"),
        ({"trace": {"logprobs": [1], "ids": [[-1]], "values": [[0]]}}, "expected a run as it was"),
        ({"runs": 0}, "expected a run as it was recorded, found runs must be at least 1, got 0"),
        ({"profile": ""}, "expected a run as it was recorded, found a name "),
    ],
)
def test_a_first_run_has_to_be_possible(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Its facts come before it, and an update could have been planned like this."""
    file = log_with(tmp_path, (conditions_of(), SAME[0]))
    *before, first = file.read_text("ascii").splitlines()
    file.write_text("\n".join((*before, json.dumps(json.loads(first) | change), "")), "ascii")

    assert refusal_of(tmp_path).startswith(f"line 3: {message}")


def _differing(run: int, position: int, expected: int) -> dict[str, Any]:
    token = {"id": expected, "data": f" {expected}"}
    divergence = {"place": "output", "position": position, "expected": token, "observed": None}
    return {"run": run, "in_fresh_process": False, "divergence": divergence}


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        (_differing(3, 0, 5), "line 4: difference.run: expected the first run that differs"),
        (_differing(1, 0, 5), "line 4: difference: expected a consistent nondeterministic"),
        (_differing(2, 0, 6), "expected a run as it was recorded, found the divergence is neither"),
    ],
)
def test_a_difference_has_to_be_possible(
    tmp_path: Path, difference: dict[str, Any], message: str
) -> None:
    """It is of its run, and starts from the tokens of the first one."""
    file = log_with(tmp_path, (conditions_of(), Repetition(first=generation_of(5))))
    line = {"kind": "later_run", "cell": FOX.id, "run": 2, "difference": difference}
    with file.open("a") as stream:
        stream.write(f"{json.dumps(line)}\n")

    assert message in refusal_of(tmp_path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_writer_is_refused(tmp_path: Path, resume: bool) -> None:  # noqa: FBT001 -- pytest
    """It would remove or mix up the runs of the first, which is still working."""
    with opened(tmp_path, resume=False) as log:
        log.note(conditions_of(), SAME[0])
        with pytest.raises(MeasurementUnavailable, match="another command is writing"):
            opened(tmp_path, resume=resume)
        log.note(conditions_of(), SAME[1])

    assert known_in(tmp_path) == SAME[1]


def test_a_link_is_replaced_or_refused_but_never_followed(tmp_path: Path) -> None:
    """What it points to is not ours."""
    target = tmp_path / "mine"
    target.write_text("mine", "utf-8")
    (tmp_path / "runs.jsonl").symlink_to(target)

    assert refusal_of(tmp_path) == "expected no symbolic link, found one"
    log_with(tmp_path)
    assert target.read_text("utf-8") == "mine"
    assert known_in(tmp_path) is None


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    """It is not removed."""
    (tmp_path / "runs.jsonl").mkdir()

    assert refusal_of(tmp_path) == "expected a regular file, found a folder"
    with pytest.raises(OSError, match="Is a directory"):
        opened(tmp_path, resume=False)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_only_the_line_that_did_not_fit(tmp_path: Path) -> None:
    """What was written of it is removed, so that the log can be continued."""
    file = log_with(tmp_path, (conditions_of(), SAME[0]))
    before = file.read_bytes()
    with closing(AppendLog(file, resume=True, content="a run")) as log:
        list(log.lines())
        with file_size_limit(len(before) + 10), pytest.raises(OSError, match="too large"):
            log.append(b"x" * 100 + b"\n")
        assert file.read_bytes() == before
        log.append(b"{}\n")

    assert file.read_bytes() == before + b"{}\n"


_ENDLESS = """
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from tests.adapters.logs.test_runs import SAME, conditions_of, opened
with opened(Path(sys.argv[1]), resume=False) as log:
    log.note(conditions_of(runs=10**9), SAME[0])
    for run in count(2):
        log.note(conditions_of(runs=10**9), replace(SAME[0], runs=run))
        print(run, flush=True)
"""


def test_a_killed_process_loses_no_run(tmp_path: Path) -> None:
    """Every run that was noted before a kill -9 is known afterwards."""
    last = 1 + lines_until_killed(_ENDLESS, tmp_path)

    known = known_in(tmp_path, conditions_of(runs=10**9))
    assert known is not None
    # It may have been killed between a run and its message.
    assert known.runs in {last, last + 1}
