"""`record-baseline`: what it draws, asks, writes and refuses, and what it never loses."""

import json
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from repro_gate.cli.logprobs import calibration_line
from repro_gate.core.logprobs.policy import PolicyKind
from tests.cli.hosted.workspaces import ITEMS, KEY_ENV, PLANE, TRAIN, HostedWorkspace
from tests.cli.terminal.terminals import QUESTION, at_terminal
from tests.cli.workspaces import PATIENCE_S, contents_of, ended
from tests.fakes.fireworks.conduct import KEY, Conduct
from tests.fakes.fireworks.effects import Edit, Rule, Shift, on
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.scoring import plan_of, policy_of, suite_of_logprobs

_COMMAND = ("record-baseline", "--suite", "hosted")
_LOG = "calibration.jsonl"


def _orphan(workspace: HostedWorkspace, name: str) -> Path:
    """Return the baseline of a cell that is not in the matrix any more."""
    file = workspace.baseline(name)
    file.write_text("{}", "utf-8")
    return file


def test_nothing_is_recorded_under_ci(unrecorded: HostedWorkspace, api: Api) -> None:
    """A baseline that CI records by itself would always agree."""
    ran = unrecorded.calibrate(CI="true")

    assert (ran.code, api.requests, unrecorded.snapshots.exists()) == (2, [], False)
    assert "baselines are not updated in CI (CI is set)" in ran.err


def test_declined_baselines_are_not_written(unrecorded: HostedWorkspace) -> None:
    """The answer no at a terminal writes nothing."""
    ran = at_terminal(unrecorded, *_COMMAND, answer="n\n")

    assert (ran.code, unrecorded.snapshots.exists()) == (4, False)
    assert "new        fake/base--plane\n" in ran.out
    assert QUESTION.decode() in ran.out
    assert "\nNothing was written.\n" in ran.out


def test_draws_can_be_written_later(unrecorded: HostedWorkspace, api: Api) -> None:
    """Without a terminal nothing is written, and --resume does not pay for the draws again."""
    first = unrecorded.run(*_COMMAND)
    asked = len(api.requests)
    second = unrecorded.calibrate("--resume")

    assert (first.code, asked) == (2, 25)
    assert first.err.endswith("review the list, then pass --yes and --resume\n")
    # The tokens of the two texts are requested again, and the echo is compared again.
    assert (second.code, len(api.requests) - asked) == (0, 4)
    assert contents_of(unrecorded.baselines).keys() == {f"{PLANE}.json", f"{TRAIN}.json"}


def test_an_echo_that_is_off_by_one_is_refused(unrecorded: HostedWorkspace, api: Api) -> None:
    """Each token gets the number of the next one: it is seen before a draw is made."""
    api.follow(Rule(effect=Edit(change=_shift_echo)))

    ran = unrecorded.calibrate()

    assert (ran.code, unrecorded.snapshots.exists()) == (4, False)
    assert (
        "2 cells: in the echo of fake, tokens have the log-probabilities of other tokens" in ran.out
    )
    # Two texts, and two comparisons of two calls each.
    assert len(api.requests) == 6


def _shift_echo(body: Any) -> None:
    if body["usage"]["completion_tokens"] == 0:
        rows = body["choices"][0]["logprobs"]["content"]
        for row, after in pairwise(rows):
            row["logprob"] = after["logprob"]


def test_an_existing_baseline_stays(hosted: HostedWorkspace, api: Api) -> None:
    """It is kept, without any request."""
    before = contents_of(hosted.snapshots)

    ran = hosted.calibrate()

    assert (ran.code, ran.out) == (0, "nothing to record; 2 unchanged, 0 refused\n")
    assert (api.requests, contents_of(hosted.snapshots)) == ([], before)


def test_again_replaces_the_selected_baselines(hosted: HostedWorkspace, api: Api) -> None:
    """With --again and --only one baseline is drawn again, and the other is unchanged."""
    plane, train = (hosted.baseline(cell).read_bytes() for cell in (PLANE, TRAIN))
    api.follow(Rule(effect=Shift(nats=-3.0)))

    ran = hosted.calibrate("--again", "--only", TRAIN)

    assert (ran.code, hosted.baseline(PLANE).read_bytes()) == (0, plane)
    before, after = json.loads(train), json.loads(hosted.baseline(TRAIN).read_bytes())
    moved = after["noise"]["center"] - before["noise"]["center"]
    assert moved == pytest.approx(-3.0, abs=1e-5)
    assert "before: 10 draws of 28 tokens" in ran.out


def test_unusable_baselines_are_replaced(hosted: HostedWorkspace, api: Api) -> None:
    """Redefined and edited baselines are replaced without --again."""
    _orphan(hosted, PLANE)
    hosted.ask(api.base_url, items={**ITEMS, "train": {**ITEMS["train"], "prompt": "Go at"}})

    ran = hosted.calibrate()

    assert (ran.code, "2 kept" in ran.out) == (0, False)
    assert "repaired   fake/base--plane\n" in ran.out
    assert "redefined  fake/base--train\n" in ran.out
    assert "prompt was The train leaves at\n" in ran.out
    assert hosted.check("--quiet").code == 0


def test_orphans_are_pruned_on_demand(hosted: HostedWorkspace, api: Api) -> None:
    """An orphan is a finding until --prune removes it; --only spares the others."""
    one, other = _orphan(hosted, "base--old"), _orphan(hosted, "former--plane")

    checked = hosted.check()
    pruned = hosted.calibrate("--prune", "--only", "base--*")

    assert (checked.code, hosted.logprob_verdicts()["base--old"]) == (10, "orphaned")
    assert (pruned.code, one.exists(), other.exists()) == (0, False, True)
    assert hosted.baseline(PLANE).exists()
    assert "removed    fake/base--old\n" in pruned.out


def test_a_cell_of_two_suites_is_recorded_once(hosted: HostedWorkspace, api: Api) -> None:
    """With the larger number of draws, and listed once."""
    other = {"kind": "logprobs", "policies": ["base"], "items": ["plane"], "calibration_draws": 12}
    hosted.ask(api.base_url, suites={"other": other})
    _orphan(hosted, "former--plane")

    suites = ("--suite", "hosted", "--suite", "other")
    ran = hosted.run("record-baseline", *suites, "--again", "--prune", "--yes")

    draws = Counter(draw["cell"] for draw in hosted.draws(_LOG) if draw["purpose"] == "calibration")
    assert (ran.code, draws) == (0, {PLANE: 12, TRAIN: 10})
    counts = [ran.out.count(f" fake/{name}\n") for name in (PLANE, TRAIN, "former--plane")]
    assert counts == [1, 1, 1]


def test_a_calibration_with_an_outlier_is_refused(unrecorded: HostedWorkspace, api: Api) -> None:
    """The draws are shown, with the outlier among them; the other cell is recorded."""
    api.follow(on(3, Shift(nats=-114.0), text="nine"))

    ran = unrecorded.calibrate()

    assert (ran.code, [*contents_of(unrecorded.baselines)]) == (10, [f"{PLANE}.json"])
    assert f"refused    {TRAIN}: 1 of 10 calibration draws are outliers" in ran.out
    assert ran.out.count(" (outlier)") == 1
    assert "-239.844 -239.844" in ran.out


def test_without_a_key_nothing_is_recorded(unrecorded: HostedWorkspace, api: Api) -> None:
    """The variable to set is named once, and no one is called."""
    ran = unrecorded.calibrate(**{KEY_ENV: ""})

    assert (ran.code, api.requests, unrecorded.snapshots.exists()) == (4, [], False)
    assert ran.out == (
        f"refused    2 cells: {KEY_ENV} is not set\n"
        f"           {PLANE}, {TRAIN}\n"
        f"           try: set {KEY_ENV} to a key of fake\n"
        "nothing was recorded; 0 unchanged, 2 refused\n"
    )


def test_a_second_recording_at_once_is_refused(unrecorded: HostedWorkspace) -> None:
    """They would undo each other, so the second one ends before any request."""
    with serving(conduct=Conduct(latency_s=PATIENCE_S)) as server:
        unrecorded.ask(server.base_url)
        first = unrecorded.start(*_COMMAND, "--yes")
        while not server.requests:
            assert first.poll() is None
            time.sleep(0.01)
        second = unrecorded.calibrate()
        first.send_signal(signal.SIGINT)
        interrupted = ended(first)

    message = "another update of snapshots is running"
    expected = f"repro-gate: {message}\n  try: wait until it ends, or stop it\n"
    assert (second.code, second.out, second.err) == (4, "", expected)
    assert (interrupted.code, "nothing was written" in interrupted.err) == (130, True)


@pytest.fixture(scope="module")
def drawn_once(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> HostedWorkspace:
    """Return a workspace with many baselines, and a log that has all their draws."""
    folder = tmp_path_factory.mktemp("drawn")
    workspace = HostedWorkspace(folder=folder, cache=cache, key=KEY)
    with serving() as server:
        workspace.ask(server.base_url, items=_MANY)
        assert workspace.calibrate().code == 0
    return workspace


_MANY: dict[str, Any] = {f"item{n}": {**ITEMS["plane"], "prompt": f"Say {n}"} for n in range(20)}


@pytest.mark.parametrize("arguments", [("--yes",), ("--yes", "--resume")], ids=["log", "baselines"])
def test_a_full_disk_loses_nothing(
    drawn_once: HostedWorkspace, api: Api, arguments: tuple[str, ...]
) -> None:
    """If the log or a baseline cannot be written, it is 4, and existing files are whole."""
    drawn_once.ask(api.base_url, items=_MANY)
    before = contents_of(drawn_once.snapshots)
    # A module compiled within this limit would be cut short, and break every later import.
    limit = (
        "os.environ['PYTHONDONTWRITEBYTECODE'] = '1'; import resource; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    )
    output = () if "--resume" in arguments else ("-o", "full")

    ran = ended(drawn_once.start(*_COMMAND, "--again", *arguments, *output, after=limit))

    assert (ran.code, "Traceback" in ran.err) == (4, False)
    assert "File too large\n  try: free space on the disk" in ran.err
    assert contents_of(drawn_once.snapshots) == before


def test_a_kill_leaves_every_baseline_old_or_new(drawn_once: HostedWorkspace, api: Api) -> None:
    """A recording that is killed while it writes tears no file, and locks no other out."""
    drawn_once.ask(api.base_url, items=_MANY)
    old = contents_of(drawn_once.baselines)
    latest = max(json.loads(data)["recorded_at"] for data in old.values())
    first = drawn_once.baseline("base--item0")
    # The times of baselines have seconds: what is recorded from here on differs by its time.
    time.sleep(1)

    gate = drawn_once.start(*_COMMAND, "--again", "--yes", "--resume")
    while first.read_bytes() == old[first.name]:
        assert gate.poll() is None
        time.sleep(0.001)
    gate.kill()
    ended(gate)

    killed = {name: data for name, data in contents_of(drawn_once.baselines).items() if name in old}
    assert killed.keys() == old.keys()
    is_old = {name: json.loads(data)["recorded_at"] <= latest for name, data in killed.items()}
    assert {name for name, is_kept in is_old.items() if is_kept} == {
        name for name, data in killed.items() if data == old[name]
    }
    assert not is_old[first.name]
    assert drawn_once.check("--quiet").code == 0
    assert drawn_once.calibrate().code == 0
    assert contents_of(drawn_once.baselines).keys() == old.keys()


def test_baselines_that_cannot_be_written_are_4(unrecorded: HostedWorkspace) -> None:
    """A file in place of a folder is named, and is not a crash."""
    unrecorded.snapshots.mkdir()
    (unrecorded.snapshots / "baselines").touch()

    ran = unrecorded.calibrate()

    assert (ran.code, "Traceback" in ran.err) == (4, False)
    assert "repro-gate: snapshots/baselines: Not a directory\n  try: move away" in ran.err


def test_a_number_of_calls_that_is_known_is_no_range() -> None:
    """What is generated has no echo to compare."""
    policy = policy_of(kind=PolicyKind.FIRST_TOKEN, top_logprobs=5, max_tokens=1)
    plan = plan_of(suite_of_logprobs(policies=[policy], items=1))

    line = calibration_line(plan, plan.cells)

    assert line is not None
    assert line.startswith("suite hosted: 1 baselines, 12 calls, roughly ")
