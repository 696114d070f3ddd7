"""Token commands with a matrix that has suites of log-probabilities too."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from repro_gate.cli.session import Selection, Session, open_session
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from tests.cli.workspaces import Workspace, contents_of, matrix_of

_PARTS: dict[str, Any] = {
    "providers": {"hosted": {"kind": "fireworks"}},
    "policies": {
        "base": {"provider": "hosted", "model": "x", "temperature": 1, "logprobs": "raw"},
        "here": {"provider": "local", "model": "tiny", "temperature": 1, "logprobs": "raw"},
    },
    "items": {"plane": {"prompt": "How?", "response": "So."}},
}
_SUITES: dict[str, Any] = {
    "hosted": {"kind": "logprobs", "policies": ["base"], "items": ["plane"]},
    "local": {"kind": "logprobs", "policies": ["here", "base"], "items": ["plane"]},
}


def _with_both_kinds(workspace: Workspace, *default: str) -> None:
    suites = matrix_of(workspace.engine())["suites"] | _SUITES
    workspace.write_matrix(suites=suites, default_suites=list(default) or ["quick"], **_PARTS)


def _opened(
    workspace: Workspace, *suites: str, only: str | None = None, device: str | None = None
) -> Session:
    config = workspace.folder / "repro-gate.toml"
    return open_session(Selection(config=config, suites=suites, only=only, device=device))


def _planned(session: Session) -> tuple[Sequence[str], Sequence[str]]:
    plans = session.logprob_plans()
    tokens = [cell.id for cell in session.plan().tokens.cells]
    return tokens, [f"{plan.suite.name}:{cell.id}" for plan in plans for cell in plan.cells]


@pytest.mark.parametrize(
    ("suites", "only", "tokens", "logprobs"),
    [
        ((), None, 4, ["hosted:base--plane"]),
        (("quick",), None, 4, []),
        (("hosted",), None, 0, ["hosted:base--plane"]),
        (("local",), "base--*", 0, ["local:base--plane"]),
        (("quick", "local"), None, 4, ["local:here--plane", "local:base--plane"]),
        ((), "base--*", 0, ["hosted:base--plane"]),
        ((), "tiny--fox--*", 2, []),
    ],
)
def test_a_selection_means_both_kinds(
    workspace: Workspace,
    suites: tuple[str, ...],
    only: str | None,
    tokens: int,
    logprobs: list[str],
) -> None:
    """Suites and patterns choose among tokens and log-probabilities alike."""
    _with_both_kinds(workspace, "quick", "hosted")

    cells, others = _planned(_opened(workspace, *suites, only=only))

    assert (len(cells), others) == (tokens, logprobs)


@pytest.mark.parametrize(
    ("suites", "only", "remedy"),
    [
        (("hosted",), "here--*", "--suite local, which has such cells"),
        (("hosted",), "tiny--*", "--suite quick, which has such cells"),
        (("hosted",), "x", "--only 'base--plane', or a pattern such as 'base--*'"),
        ((), "x", "--only 'tiny--haiku--seed1', or a pattern such as 'tiny--*'"),
    ],
)
def test_a_selection_of_neither_kind_lists_the_cells(
    workspace: Workspace, suites: tuple[str, ...], only: str, remedy: str
) -> None:
    """Nothing was checked only if no cell of either kind is selected."""
    _with_both_kinds(workspace)

    with pytest.raises(MeasurementUnavailable) as caught:
        _opened(workspace, *suites, only=only).plan()

    assert str(caught.value) == f"nothing was checked: no cell matches --only {only!r}"
    assert caught.value.remedy == remedy


def test_an_unknown_suite_is_unknown_among_both_kinds(workspace: Workspace) -> None:
    """The message names the suites of tokens and those of log-probabilities."""
    _with_both_kinds(workspace)

    with pytest.raises(UsageInvalid, match="it has: quick, hosted, local"):
        _opened(workspace, "nightly").plan()


def test_a_device_is_that_of_local_policies_too(workspace: Workspace) -> None:
    """The engine of a local policy moves with those of the suites of tokens."""
    _with_both_kinds(workspace)

    local = _opened(workspace, "local", device="cuda:1").matrix.logprob_suites["local"]

    models = [cell.policy.local_model for cell in local.cells]
    assert [model and model.engine.device for model in models] == ["cuda:1", None]


def test_the_doctor_lists_both_kinds_of_suites(recorded: Workspace) -> None:
    """It shows what would be checked of each kind."""
    _with_both_kinds(recorded, "quick", "hosted")

    ran = recorded.run("doctor")

    assert ran.code == 0
    assert "  suite quick: 4 cells x 2 runs, by default\n" in ran.out
    assert "  suite hosted: 1 cells x 5 draws of log-probabilities, by default\n" in ran.out
    assert "  suite local: 2 cells x 5 draws of log-probabilities\n" in ran.out


@pytest.mark.parametrize(
    "arguments", [("--suite", "hosted"), ("--only", "base--*"), ("-s", "hosted", "--from", ".")]
)
def test_goldens_are_not_made_of_log_probabilities(
    recorded: Workspace, arguments: tuple[str, ...]
) -> None:
    """If only log-probabilities are selected, the message names the command that records them."""
    _with_both_kinds(recorded, "quick", "hosted")

    ran = recorded.record(*arguments)

    assert ran.code == 2
    assert ran.err == (
        "repro-gate: only log-probabilities are selected, and update-snapshots records tokens; "
        "repro-gate record-baseline records log-probabilities\n"
    )


def test_baselines_are_not_made_of_tokens(recorded: Workspace) -> None:
    """If only tokens are selected, the message names the suites of log-probabilities."""
    _with_both_kinds(recorded, "quick")

    ran = recorded.run("record-baseline")

    assert (ran.code, ran.err) == (
        2,
        ("repro-gate: no suite of log-probabilities is selected; the matrix has: hosted, local\n"),
    )


def test_goldens_are_updated_beside_log_probabilities(workspace: Workspace) -> None:
    """Of a selection of both kinds the tokens are recorded."""
    _with_both_kinds(workspace, "hosted", "quick")

    ran = workspace.record()

    assert (ran.code, len(contents_of(workspace.snapshots / "goldens"))) == (0, 4)


def test_an_orphaned_golden_is_pruned_though_only_log_probabilities_match(
    recorded: Workspace,
) -> None:
    """A golden of a model that is gone may be named like a policy that has come."""
    orphan = recorded.golden("base--fox--seed1")
    orphan.write_text("{}", "utf-8")
    _with_both_kinds(recorded, "quick", "hosted")

    ran = recorded.record("--prune", "--only", "base--*")

    assert (ran.code, orphan.exists()) == (0, False)


def test_a_recorded_baseline_pins_its_local_model(workspace: Workspace) -> None:
    """A baseline belongs to one file, which the first recording pins; another file is refused."""
    workspace.write_matrix(
        suites={"local": {"kind": "logprobs", "policies": ["here"], "items": ["plane"]}},
        default_suites=["local"],
        **_PARTS,
    )

    recorded = workspace.run("record-baseline", "--yes")
    (workspace.folder / "tiny.gguf").write_bytes(b"other weights")
    checked = workspace.run("check")
    repinned = workspace.record("--repin", "tiny")

    old, new = (sha256(data).hexdigest() for data in (b"weights", b"other weights"))
    assert (recorded.code, checked.code, repinned.code) == (0, 4, 0)
    assert f"pin        tiny sha256 {old}\n" in recorded.out
    assert "repro-gate update-snapshots --repin tiny" in checked.out
    assert repinned.out == (
        f"pin        tiny sha256 {old} -> {new}\n"
        "nothing to record; 0 unchanged, 0 refused\n"
        "snapshots is up to date; commit it.\n"
        "Baselines still belong to the old file: run repro-gate record-baseline --again\n"
    )


def test_notes_on_a_local_model_are_shown_when_it_is_recorded_and_checked(
    workspace: Workspace,
) -> None:
    """What the engine notes about the model and the text comes with the baseline, once."""
    workspace.write_matrix(
        suites={"local": {"kind": "logprobs", "policies": ["here"], "items": ["plane"]}},
        default_suites=["local"],
        **_PARTS,
    )
    workspace.write_script({"method": "load", "result": {"notes": ["no pre-tokenizer"]}})
    recorded = workspace.run("record-baseline", "--yes")
    workspace.run("check")

    assert recorded.out.count("note       tiny: no pre-tokenizer\n") == 1
    note = {"about": "tiny", "origin": "engine", "message": "no pre-tokenizer"}
    assert workspace.report()["notes"] == [note]


def test_a_drift_of_tokens_survives_a_broken_baseline(recorded: Workspace) -> None:
    """What was seen is reported; what could not be checked after it is a note."""
    _with_both_kinds(recorded, "quick", "local")
    sources = [profile.name for profile in (recorded.snapshots / "goldens").iterdir()]
    for source in sources:
        broken = recorded.snapshots / "baselines" / source / "here--plane.json"
        broken.parent.mkdir(parents=True)
        broken.write_text("{}", "utf-8")
    codes = [recorded.run("check").code]
    recorded.golden("tiny--fox--seed1").unlink()

    ran = recorded.run("check")

    assert (codes, ran.code) == ([3], 10)
    assert recorded.verdicts()["tiny--fox--seed1"] == "unrecorded"
    (note,) = recorded.report()["notes"]
    assert note["about"] == "log-probabilities"
    assert "here--plane.json" in note["message"]
    assert "repro-gate: log-probabilities not checked: " in ran.err


def test_after_a_finding_no_suite_of_log_probabilities_starts(recorded: Workspace) -> None:
    """With --fail-fast they are inconclusive, without a request, and earlier draws stay."""
    _with_both_kinds(recorded, "quick", "local")
    recorded.golden("tiny--haiku--seed1").unlink()
    recorded.output.mkdir(exist_ok=True)
    draws = recorded.output / "draws.jsonl"
    draws.write_text("of an earlier check", "utf-8")

    ran = recorded.run("check", "--fail-fast")

    (part,) = recorded.report()["logprobs"]
    reasons = {cell["verdict"]["reason"] for cell in part["cells"]}
    assert (ran.code, recorded.report()["interrupted"]) == (10, False)
    assert reasons == {"--fail-fast stopped the check after the first finding"}
    assert recorded.asked("score") == []
    assert draws.read_text("utf-8") == "of an earlier check"


def test_after_a_suite_with_a_finding_the_next_does_not_start(recorded: Workspace) -> None:
    """The first has no baseline, which is a finding; the second might take hours."""
    suite = {"kind": "logprobs", "policies": ["here"], "items": ["plane"]}
    suites = {"first": suite, "second": suite}
    recorded.write_matrix(suites=suites, default_suites=["first", "second"], **_PARTS)

    assert recorded.run("check", "--fail-fast").code == 10

    cells = [part["cells"][0] for part in recorded.report()["logprobs"]]
    assert [cell["verdict"]["kind"] for cell in cells] == ["unrecorded", "inconclusive"]
    assert cells[1]["verdict"]["reason"] == "--fail-fast stopped the check after the first finding"
