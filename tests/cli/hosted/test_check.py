"""From nothing to a passing check: a hosted model over real HTTP."""

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest

from repro_gate.adapters.files.documents import validate
from tests.cli.hosted.workspaces import (
    KEY_ENV,
    PLANE,
    TRAIN,
    HostedWorkspace,
    hosted_matrix_of,
)
from tests.cli.workspaces import Ran, Workspace, contents_of, ended, matrix_of, toml
from tests.fakes.fireworks.effects import Edit, Rule, Shift
from tests.fakes.fireworks.server import Api, serving

_SUITES = ("--suite", "quick", "--suite", "hosted")


def test_from_nothing_to_a_check_that_passes(unrecorded: HostedWorkspace, api: Api) -> None:
    """The command that an unrecorded suite shows records it, and then it agrees."""
    first = unrecorded.check()
    verdicts = unrecorded.logprob_verdicts()
    command = next(line for line in first.out.splitlines() if line.startswith("  command"))
    _, program, *arguments = shlex.split(command)

    assert (first.code, api.requests, program) == (10, [], "repro-gate")
    assert verdicts == {PLANE: "unrecorded", TRAIN: "unrecorded"}
    assert unrecorded.run(*arguments, "--yes").code == 0
    assert contents_of(unrecorded.baselines).keys() == {f"{PLANE}.json", f"{TRAIN}.json"}
    assert unrecorded.check().code == 0
    assert unrecorded.logprob_verdicts() == {PLANE: "agrees", TRAIN: "agrees"}


@pytest.fixture(scope="module")
def agreed(
    hosted_once: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HostedWorkspace, Ran, int]:
    """Return a check that agrees, and how many calls the server saw."""
    workspace = hosted_once.hosted_copy(tmp_path_factory.mktemp("agreed"))
    with serving() as server:
        workspace.ask(server.base_url)
        ran = workspace.check()
        return workspace, ran, len(server.requests)


def test_a_service_that_has_not_changed_passes(agreed: tuple[HostedWorkspace, Ran, int]) -> None:
    """Every draw repeats a calibration draw, and the control shows that it need not."""
    _, ran, _ = agreed

    assert ran.code == 0
    assert "  base          2 cells, 4 draws, 4 identical  all agree\n" in ran.out
    assert "  controls      1 control, all differ\n" in ran.out
    assert "\npassed: hosted: 2 agree; wall " in ran.out


def test_every_call_is_a_draw_in_the_log(agreed: tuple[HostedWorkspace, Ran, int]) -> None:
    """Two draws of each cell and one control are made, noted and counted: no call is lost."""
    workspace, _, calls = agreed

    made = sorted((draw["cell"], draw["purpose"], draw["number"]) for draw in workspace.draws())
    assert made == [
        (PLANE, "control", 1),
        *((cell, "first_look", number) for cell in (PLANE, TRAIN) for number in (1, 2)),
    ]
    spending = workspace.suite()["spending"]
    assert (calls, spending["calls"], spending["saved"]) == (5, 5, 6)


def test_the_reports_are_written(agreed: tuple[HostedWorkspace, Ran, int]) -> None:
    """There is one for programs, valid by its schema, one for people and one for dashboards."""
    workspace, _, _ = agreed

    validate(workspace.document(), schema="report-v1", file=workspace.output / "report.json")
    assert "hosted" in (workspace.output / "report.md").read_text("utf-8")
    cases = ET.parse(workspace.output / "junit.xml").iter("testcase")  # noqa: S314 -- our own text
    assert {PLANE, TRAIN} <= {case.get("name") for case in cases}


def test_the_estimate_is_printed_before_the_first_call(hosted: HostedWorkspace, api: Api) -> None:
    """Calls, tokens and budget are on stderr by then."""
    log = hosted.folder / "stderr"
    logged: list[str] = []
    api.follow(Rule(effect=Edit(change=lambda _: logged.append(log.read_text("utf-8")))))
    hosted.ask(api.base_url, suite={"budget": {"max_calls": 50, "max_tokens": 9000}})

    with log.open("wb") as stderr:
        ended(hosted.start("check", stderr=stderr))

    host = urlsplit(api.base_url).netloc
    assert logged[0] == (
        f"repro-gate: provider fake: the value of {KEY_ENV} is sent to {host}\n"
        "repro-gate: suite hosted: 2 cells, 5 to 21 calls, 288 tokens to 1208 tokens; "
        "the budget is 50 calls and 9000 tokens\n"
    )


def test_tokens_of_an_earlier_check_are_taken_away(hosted: HostedWorkspace) -> None:
    """The report folder of a check that observed no tokens has none."""
    left = hosted.output / "observed" / "test-cpu" / "tiny--fox--seed1.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}", "utf-8")

    code = hosted.check("--quiet").code

    assert (code, left.exists()) == (0, False)


@pytest.fixture
def both(recorded_once: Workspace, hosted: HostedWorkspace, api: Api) -> HostedWorkspace:
    """Return a workspace with goldens and baselines, whose matrix has a suite of each kind."""
    recorded_once.copied_to(hosted.folder)
    tokens: dict[str, Any] = matrix_of(hosted.engine())
    matrix = hosted_matrix_of(api.base_url, **tokens)
    (hosted.folder / "repro-gate.toml").write_text(toml(matrix), "utf-8")
    return hosted


def test_both_kinds_of_suites_have_one_report(both: HostedWorkspace) -> None:
    """Tokens and log-probabilities are checked by one command, with one exit code."""
    ran = both.run("check", *_SUITES)

    assert (ran.code, set(both.verdicts().values())) == (0, {"match"})
    assert both.logprob_verdicts() == {PLANE: "agrees", TRAIN: "agrees"}
    assert both.report()["suites"] == ["quick", "hosted"]


@pytest.mark.parametrize("is_token", [True, False], ids=["tokens", "logprobs"])
def test_a_finding_of_either_kind_is_the_exit_code(
    both: HostedWorkspace, api: Api, *, is_token: bool
) -> None:
    """One suite that agrees does not hide a finding in the other."""
    if is_token:
        both.write_script({"method": "generate", "result": {"tokens": [[7, b" 7".hex()]]}})
    else:
        api.follow(Rule(effect=Shift(nats=-3.0)))

    assert both.run("check", *_SUITES).code == 10
    assert set(both.verdicts().values()) == {"drift" if is_token else "match"}
    assert set(both.logprob_verdicts().values()) == {"agrees" if is_token else "drift"}


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "unrecorded"])
def test_without_a_key_there_is_no_request(
    hosted: HostedWorkspace, api: Api, *, is_recorded: bool
) -> None:
    """A missing key is 4; one line names the variable."""
    if not is_recorded:
        hosted.baseline(PLANE).unlink()

    ran = hosted.check(**{KEY_ENV: ""})

    assert (ran.code, ran.err, api.requests) == (4, "", [])
    assert ran.out.count(f"{KEY_ENV} is not set\n") == 1
    assert f"  remedy      set {KEY_ENV} to a key of fake\n" in ran.out
    assert hosted.logprob_verdicts() == {PLANE: "inconclusive", TRAIN: "inconclusive"}


def test_a_rejected_key_is_not_a_finding(hosted: HostedWorkspace) -> None:
    """Nothing was measured, and the message names the variable to set."""
    ran = hosted.check(**{KEY_ENV: "fw_wrong"})

    assert (ran.code, "status 401" in ran.out) == (4, True)
    assert f"  remedy      set {KEY_ENV} to a key that fake accepts\n" in ran.out
    assert hosted.logprob_verdicts() == {PLANE: "inconclusive", TRAIN: "inconclusive"}


def test_a_dry_run_makes_no_request(hosted: HostedWorkspace, api: Api) -> None:
    """It prints calls, tokens and cost, and writes no report."""
    hosted.ask(api.base_url, provider={"usd_per_million_tokens": 9000})

    ran = hosted.check("--dry-run")

    assert (ran.code, api.requests, hosted.output.exists()) == (4, [], False)
    claim, _, plan = ran.out.partition("\n")
    assert claim.startswith("suite hosted: false alarms: at most 1 % ")
    assert plan == (
        "suite hosted: 2 of 2 cells have a baseline, 10 draws in the first look\n"
        f"provider fake: the value of {KEY_ENV} is sent to {urlsplit(api.base_url).netloc}\n"
        "suite hosted: 2 cells, 5 to 21 calls, 288 tokens (about $2.59) to "
        "1208 tokens (about $10.87)\n"
        "nothing was checked (dry run)\n"
    )


def test_a_dry_run_shows_what_is_unknown(hosted: HostedWorkspace) -> None:
    """Without a key it does not claim that baselines are missing."""
    ran = hosted.check("--dry-run", **{KEY_ENV: ""})

    assert ran.code == 4
    assert ran.out == (
        f"suite hosted: 2 of 2 cells cannot be measured: {KEY_ENV} is not set\n"
        "suite hosted: with a baseline for each of 2 cells, at most 21 calls, roughly 302 tokens "
        "at 4 bytes of text per token\n"
        "nothing was checked (dry run)\n"
    )


def test_a_dry_run_before_there_are_baselines_has_an_upper_bound(
    unrecorded: HostedWorkspace, api: Api
) -> None:
    """The cost is known before the first call: of the check, and of the recording before it."""
    unrecorded.ask(api.base_url, provider={"usd_per_million_tokens": 9000})

    checked = unrecorded.check("--dry-run")
    recorded = unrecorded.calibrate("--dry-run", CI="true", **{KEY_ENV: ""})

    assert (checked.code, recorded.code, api.requests) == (4, 4, [])
    assert (unrecorded.output.exists(), unrecorded.snapshots.exists()) == (False, False)
    assert "at most 21 calls, roughly 302 tokens (about $2.72)" in checked.out
    assert recorded.out == (
        f"suite hosted: 2 of 2 cells cannot be recorded: {KEY_ENV} is not set\n"
        f"provider fake: the value of {KEY_ENV} is sent to {urlsplit(api.base_url).netloc}\n"
        "suite hosted: 2 baselines, 25 to 29 calls, roughly 385 tokens (about $3.46), if no other "
        "cell has a baseline\n"
        "nothing was recorded (dry run)\n"
    )


def test_a_dry_run_of_a_recording_names_what_exists(hosted: HostedWorkspace) -> None:
    """What has a baseline costs nothing."""
    hosted.baseline(PLANE).unlink()

    ran = hosted.calibrate("--dry-run")

    assert (ran.code, hosted.baseline(PLANE).exists()) == (4, False)
    assert ran.out.startswith(
        "suite hosted: 1 of 2 cells keep their baseline\n"
        "suite hosted: 1 to record (new), 10 draws each\n"
    )


def test_a_changed_definition_is_never_compared(hosted: HostedWorkspace, api: Api) -> None:
    """A baseline holds for the prompt, model and temperature that it was recorded with."""
    matrix = hosted_matrix_of(api.base_url)
    warm = {**matrix["policies"]["base"], "temperature": 0.8}
    hosted.ask(api.base_url, policies={"base": warm})

    ran = hosted.check()

    assert (ran.code, api.requests) == (10, [])
    assert "for another definition of the cell: temperature was 0.7" in ran.out


def test_a_baseline_that_was_edited_is_3(hosted: HostedWorkspace, api: Api) -> None:
    """The file is named, and nothing is drawn for the cells beside it either."""
    file = hosted.baseline(TRAIN)
    text = file.read_text("utf-8")
    file.write_text(text.replace("nine", "five"), "utf-8")

    ran = hosted.check()

    place = Path("snapshots") / "baselines" / "fake" / f"{TRAIN}.json"
    assert (ran.code, api.requests) == (3, [])
    assert ran.err.startswith(f"repro-gate: {place}: digest: expected ")
