"""`repro-gate review` at a terminal: what each session leaves on the disk."""

import json
import signal
from pathlib import Path

import pytest

from benchmarks.review import session
from repro_gate.cli.review.interactive import RUNS
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.cli.terminal.terminals import at_terminal
from tests.cli.workspaces import GATE, PATIENCE_S, Workspace, contents_of
from tests.fakes.fireworks.server import Api
from tests.fakes.keyboards import Keyboard

_KEYS = "[q]uit"
_FOX_1, _FOX_2, _HAIKU = "tiny--fox--seed1", "tiny--fox--seed2", "tiny--haiku--seed1"


def _at(workspace: Workspace, *arguments: str, **env: str) -> Keyboard:
    """Start a review at a terminal of so many lines as the variable has."""
    command, lines = [*GATE, "review", *arguments], int(env.get("LINES", "40"))
    env = workspace.environment(**env)
    return Keyboard(command, folder=workspace.folder, env=env, lines=lines)


def _reviewed(workspace: Workspace, keys: str, *arguments: str, **env: str) -> tuple[int, str]:
    """Press keys, each when a change is shown, and return the exit code and the last output."""
    with _at(workspace, *arguments, **env) as keyboard:
        for key in keys:
            keyboard.wait_for(_KEYS)
            keyboard.press(key)
        return keyboard.end(), keyboard.screens[-1]


def _changed(workspace: Workspace, before: dict[str, bytes]) -> set[str]:
    after = contents_of(workspace.snapshots)
    return {Path(name).stem for name in after if after[name] != before[name]}


def _kept(workspace: Workspace) -> dict[str, str]:
    file = workspace.output / "review.json"
    return dict(json.loads(file.read_text("utf-8"))["decisions"]) if file.exists() else {}


def test_each_key_is_written_at_once(checked: Workspace) -> None:
    """An accepted change is a golden, and a rejected one is kept, before the review ends."""
    before = contents_of(checked.snapshots)

    with _at(checked) as keyboard:
        shown = keyboard.wait_for(_KEYS)
        assert "change 1 of 3:  0 accepted  0 rejected  0 skipped  3 left" in shown
        keyboard.press("a")
        assert _FOX_2 in keyboard.wait_for(_KEYS)
        assert _changed(checked, before) == {_FOX_1}
        keyboard.press("r")
        assert _HAIKU in keyboard.wait_for(_KEYS)
        assert _kept(checked) == {_FOX_2: "rejected"}
        keyboard.press("s")
        assert keyboard.end() == 10

    assert keyboard.screens[-1].splitlines()[-4:] == [
        "1 accepted, 1 rejected, 1 skipped, 0 left",
        f"rejected: {_FOX_2}",
        "continue with: repro-gate review",
        "next: git add snapshots, commit, and check again",
    ]


def test_accepting_a_cause_writes_the_goldens_that_update_snapshots_writes(
    checked: Workspace, checked_once: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the byte."""
    other = checked_once.copied_to(tmp_path_factory.mktemp("other"))
    assert other.record("--from", ".repro-gate").code == 0

    code, shown = _reviewed(checked, "As")

    assert (code, "2 accepted, 0 rejected, 1 skipped, 0 left" in shown) == (10, True)
    assert contents_of(checked.snapshots) == contents_of(other.snapshots)


def test_a_change_that_cannot_be_accepted_shows_why(checked: Workspace) -> None:
    """The key has no effect."""
    before = contents_of(checked.snapshots)

    with _at(checked) as keyboard:
        for key in "SaA":
            keyboard.wait_for(_KEYS)
            keyboard.press(key)
        shown = keyboard.wait_for(_KEYS)

    assert "! cannot be accepted: nondeterministic: its runs differ from each other" in shown
    assert "[a]ccept" not in shown
    assert contents_of(checked.snapshots) == before


@pytest.mark.parametrize(
    ("options", "command"),
    [((), "review"), (("--output", "a b"), "review --output 'a b'")],
)
def test_a_check_at_a_terminal_names_the_review(
    checked: Workspace, options: tuple[str, ...], command: str
) -> None:
    """In the last line; a log does not."""
    checked.write_script(_rule_of_fox())
    ran = at_terminal(checked, "check", "--only", "*fox*", *options)

    assert ran.out.splitlines()[-1] == f"next: repro-gate {command}"
    assert "next:" not in checked.run("check", "--only", "*fox*", *options).out


@pytest.mark.parametrize("key", ["q", "\x03", "\x04"])
def test_a_review_that_was_left_resumes_where_it_stopped(checked: Workspace, key: str) -> None:
    """By q, Ctrl+C or Ctrl+D."""
    code, shown = _reviewed(checked, "r" + key)
    assert (code, "0 accepted, 1 rejected, 0 skipped, 2 left" in shown) == (10, True)

    with _at(checked) as keyboard:
        assert f"drift  {_FOX_2}" in keyboard.wait_for(_KEYS)


def test_a_killed_review_keeps_every_decision(checked: Workspace) -> None:
    """What was decided is on the disk before the next change is shown."""
    before = contents_of(checked.snapshots)
    with _at(checked) as keyboard:
        for key in "ar":
            keyboard.wait_for(_KEYS)
            keyboard.press(key)
        keyboard.wait_for(_KEYS)
        keyboard.process.send_signal(signal.SIGKILL)
        keyboard.process.wait(PATIENCE_S)

    assert (_changed(checked, before), _kept(checked)) == ({_FOX_1}, {_FOX_2: "rejected"})
    with _at(checked) as keyboard:
        assert f"nondeterministic  {_HAIKU}" in keyboard.wait_for(_KEYS)


def test_going_back_takes_an_accepted_golden_back(checked: Workspace) -> None:
    """To the byte that it had before."""
    before = contents_of(checked.snapshots)

    code, shown = _reviewed(checked, "abrq")

    assert (code, "0 accepted, 1 rejected, 0 skipped, 2 left" in shown) == (10, True)
    assert (contents_of(checked.snapshots), _kept(checked)) == (before, {_FOX_1: "rejected"})


def test_going_back_removes_a_golden_that_was_new(checked: Workspace) -> None:
    """There was none before."""
    checked.golden(_FOX_1).unlink()

    _reviewed(checked, "absq")

    assert not checked.golden(_FOX_1).exists()


def test_another_report_begins_a_review_anew(checked: Workspace) -> None:
    """Its changes may be others, though the cells have the same names."""
    _reviewed(checked, "rq")
    report = checked.output / "report.json"
    report.write_text(report.read_text("utf-8") + "\n", "utf-8")

    with _at(checked) as keyboard:
        shown = keyboard.wait_for(_KEYS)

    assert "repro-gate: the report is another one than in the last review; beginning anew" in shown
    assert f"drift  {_FOX_1}" in shown


def test_everything_accepted_exits_with_0(checked: Workspace) -> None:
    """The next review has nothing to show, and exits with 0 too."""
    checked.write_script(*[_rule_of_fox()])
    assert checked.run("check").code == 10

    code, shown = _reviewed(checked, "a")

    assert (code, "1 accepted, 0 rejected, 0 skipped, 0 left" in shown) == (0, True)
    ran = checked.run("review")
    assert (ran.code, ran.out) == (
        0,
        "0 accepted, 0 rejected, 0 skipped, 0 left; 1 accepted before\n",
    )


def _rule_of_fox() -> dict[str, object]:
    tokens = [[7, b" 7".hex()]]
    wanted = {"method": "generate", "prompt": "Say fox", "seed": 1}
    return {**wanted, "result": {"tokens": tokens}}


def test_without_a_terminal_the_commands_are_printed(checked: Workspace) -> None:
    """Each accepts the changes with one cause; nothing was decided."""
    ran = checked.run("review")

    lines = [line.split(maxsplit=2) for line in ran.out.splitlines()]
    assert (ran.code, [line[0] for line in lines]) == (4, ["cause", "accept", "cause", "cannot"])
    assert [lines[0][2], lines[2][2]] == [
        "2 cells, drift: sampler",
        "1 cell, nondeterministic: unknown",
    ]
    assert ran.err.startswith("repro-gate: nothing was decided: a review needs a terminal")
    accepted = checked.run(*lines[1][2].split(), "--yes")
    assert "2 updated; 0 unchanged, 0 refused" in accepted.out


def test_log_probabilities_have_the_command_that_records_them(
    unrecorded: HostedWorkspace, api: Api
) -> None:
    """A baseline needs draws of its own, so a review does not decide on them."""
    unrecorded.check()

    ran = unrecorded.run("review")

    assert (ran.code, api.requests) == (10, [])
    assert "not decided here: unrecorded  2 cells: no baseline" in ran.out
    assert "  accept it: repro-gate record-baseline " in ran.out


def test_a_dumb_terminal_gets_no_escape_codes(checked: Workspace) -> None:
    """Such as that of an editor."""
    with _at(checked, TERM="dumb") as keyboard:
        for key in "?mn":
            keyboard.wait_for(_KEYS)
            keyboard.press(key)
        keyboard.wait_for(_KEYS)

    assert "\x1b" not in "".join(keyboard.screens)


@pytest.mark.parametrize(("lines", "shown_lines"), [(16, 16), (0, 24)])
def test_a_screen_is_as_large_as_the_terminal(
    checked: Workspace, lines: int, shown_lines: int
) -> None:
    """A dumb one too; one without a size has 24 lines."""
    with _at(checked, LINES=str(lines), TERM="dumb") as keyboard:
        shown = keyboard.wait_for(_KEYS)

    assert ("[m]ore 1/" in shown, len(shown.splitlines())) == (True, shown_lines)


def test_ci_is_refused(checked: Workspace) -> None:
    """As with every command that writes goldens."""
    ran = checked.run("review", CI="true")

    assert (ran.code, "goldens are not updated in CI" in ran.err) == (2, True)


def test_two_reviews_at_once_are_refused(checked: Workspace) -> None:
    """So is an update while a review is open."""
    with _at(checked) as keyboard:
        keyboard.wait_for(_KEYS)
        ran = checked.record("--from", ".repro-gate")
        code, shown = _reviewed(checked, "")

    for found in (ran.err, shown):
        assert "another update of snapshots is running" in found
    assert (ran.code, code) == (4, 4)


def test_a_damaged_file_of_decisions_is_refused(checked: Workspace) -> None:
    """The message has the remedy."""
    (checked.output / "review.json").write_text('{"schema": "repro-gate/review/v2"}', "utf-8")

    code, shown = _reviewed(checked, "")

    assert (code, "review.json: expected the key 'report', found none; remove" in shown) == (
        3,
        True,
    )


def test_a_terminal_that_is_closed_ends_the_review(checked: Workspace) -> None:
    """Such as by a lost connection: the process does not stay behind."""
    keyboard = _at(checked)
    try:
        keyboard.wait_for(_KEYS)
        keyboard.press("r")
        keyboard.wait_for(_KEYS)
        keyboard.hang_up()
        keyboard.process.wait(PATIENCE_S)
    finally:
        keyboard.process.kill()

    assert _kept(checked) == {_FOX_1: "rejected"}


def test_a_cell_that_the_report_has_twice_is_one_change(checked: Workspace) -> None:
    """It has one golden."""
    file = checked.output / "report.json"
    document = json.loads(file.read_text("utf-8"))
    document["result"]["report"]["cells"] *= 2
    document["result"]["report"]["grades"] = []
    file.write_text(json.dumps(document), "utf-8")

    code, shown = _reviewed(checked, "AS")

    assert (code, "2 accepted, 0 rejected, 1 skipped, 0 left" in shown) == (10, True)


def test_by_cell_the_report_gives_the_order(checked: Workspace) -> None:
    """The cell whose runs differ comes first."""
    with _at(checked, "--by", "cell") as keyboard:
        assert f"nondeterministic  {_HAIKU}" in keyboard.wait_for(_KEYS)


_GH = """#!/bin/sh
case "$*" in
"run download 42 --name=repro-gate --dir="*) cp -R download "${5#--dir=}";;
*) echo "HTTP 404: Not Found" >&2; exit 1;;
esac
"""


def test_a_run_is_downloaded_with_gh(checked: Workspace) -> None:
    """Its report is reviewed, and the decisions on it are kept when it is downloaded again."""
    path = _with_gh(checked)

    code, shown = _reviewed(checked, "rq", "--run", "42", PATH=path)

    resume = f"continue with: repro-gate review --from .repro-gate/{RUNS}/42"
    assert (code, resume in shown) == (10, True)
    with _at(checked, "--run", "42", PATH=path) as keyboard:
        assert f"drift  {_FOX_2}" in keyboard.wait_for(_KEYS)


def _with_gh(workspace: Workspace) -> str:
    """Put a `gh` into a folder that has the artifact of run 42, and return the search path."""
    (workspace.folder / "bin").mkdir()
    (workspace.folder / "bin" / "gh").write_text(_GH, "utf-8")
    (workspace.folder / "bin" / "gh").chmod(0o755)
    workspace.output.rename(workspace.folder / "download")
    return f"{workspace.folder / 'bin'}:/usr/bin:/bin"


def test_a_run_that_is_not_there_is_named(checked: Workspace) -> None:
    """With what to do."""
    ran = checked.run("review", "--run", "43", PATH=_with_gh(checked))

    assert ran.code == 4
    assert "there is no run 43 in the repository of this checkout (gh: HTTP 404" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "1; true"], "--run: the id of a run is a number"),
        (["--run", "1", "--from", "x"], "--from and --run exclude each other"),
        (["--name", "x"], "--name needs --run"),
        (["--run", "1", "--name", "../x"], "--name: an artifact cannot have the name '../x'"),
    ],
)
def test_a_wrong_command_line_is_refused(
    checked: Workspace, arguments: list[str], message: str
) -> None:
    """Before anything is started."""
    ran = checked.run("review", *arguments)

    assert (ran.code, message in ran.err) == (2, True)


def test_a_session_is_recorded_for_the_documentation(checked: Workspace) -> None:
    """Each screen with the key that follows, and the exit code."""
    blocks = ["\n".join(block) for block in session(checked.folder, "sq", checked.environment())]

    keys = [block for block in blocks if block.startswith(("Key", "Exit"))]
    assert keys == ["Key: `s`", "Key: `q`", "Exit code: 10"]
    assert f"drift  {_FOX_1}\n" in blocks[1]
    assert "0 accepted, 0 rejected, 1 skipped, 2 left" in blocks[-2]


def test_a_review_without_a_report_names_the_command_that_makes_one(recorded: Workspace) -> None:
    """A beginner may review before the first check."""
    ended = recorded.run("review")

    assert ended.code == 3
    assert "expected the report of a check, found none; run `repro-gate check` first" in ended.err
