"""`update-snapshots`: it shows the changes, asks, and writes only these."""

import json
import re
from typing import Any

import pytest

from tests.cli.terminal.terminals import at_terminal
from tests.cli.workspaces import Workspace, contents_of

_FOX = "tiny--fox--seed1"


def _answers(*ids: int, seed: int = 1) -> dict[str, Any]:
    """Return a rule by which one cell generates other tokens."""
    tokens = [[number, f" {number}".encode().hex()] for number in ids]
    return {"method": "generate", "prompt": "Say fox", "seed": seed, "result": {"tokens": tokens}}


def test_a_first_recording_shows_and_writes_every_golden(workspace: Workspace) -> None:
    """Each new golden is shown with its text, and the model is pinned."""
    ran = workspace.record()

    assert ran.code == 0
    assert f"new        test-cpu/{_FOX}\n           +  " in ran.out
    assert "\n4 new; 0 unchanged, 0 refused\nsnapshots is up to date; commit it.\n" in ran.out
    assert len(contents_of(workspace.snapshots / "goldens")) == 4


def test_a_change_shows_both_sides(recorded: Workspace) -> None:
    """A golden with other tokens is shown before and after."""
    before = json.loads(recorded.golden(_FOX).read_text("utf-8"))["text"]
    recorded.write_script(_answers(7, 8))

    out = recorded.record().out

    assert f"updated    test-cpu/{_FOX}: diverges at output[0]\n" in out
    assert f"\n           - {before}\n           +  7 8\n" in out


def test_a_late_change_is_shown_where_it_diverges(workspace: Workspace) -> None:
    """Both texts start shortly before the divergence, with the changed facts."""
    prompts = {"fox": {"text": "Say fox", "temperature": 0.7, "max_tokens": 99}}
    workspace.write_matrix(prompts=["fox"], prompts_table=prompts, seeds=[1])
    workspace.write_script(_answers(*range(50), 70), facts={"driver": "1.0"})
    workspace.record()
    workspace.write_script(_answers(*range(50), 80), facts={"driver": "2.0"})

    context = " ".join(map(str, range(34, 50)))
    assert workspace.record().out == (
        f"updated    test-cpu/{_FOX}: diverges at output[50]\n"
        f"           - ... {context} 70\n"
        f"           + ... {context} 80\n"
        '           output[50] was 70 " 70", is 80 " 80"\n'
        f"changed    since the golden of {_FOX} was recorded:\n"
        "           driver: 1.0 -> 2.0\n"
        "1 updated; 0 unchanged, 0 refused\n"
        "snapshots is up to date; commit it.\n"
    )


def test_logits_are_added_to_the_same_tokens_and_their_change_is_shown(
    recorded: Workspace,
) -> None:
    """Until they are recorded, nothing matches."""
    matrix = recorded.folder / "repro-gate.toml"
    text = matrix.read_text("utf-8")
    matrix.write_text(text.replace('"runs" = 2', '"runs" = 2\n"evidence" = "logits"'), "utf-8")
    assert recorded.run("check").code == 10
    assert set(recorded.verdicts().values()) == {"unrecorded"}
    title = f"updated    test-cpu/{_FOX}:"
    assert (
        f"{title} the tokens stay the same, with their logits from now on\n"
        in recorded.record().out
    )
    assert recorded.run("check").code == 0

    golden = json.loads(recorded.golden(_FOX).read_text("utf-8"))
    moved = [*golden["logits"][:-1], "0" * 16]
    recorded.write_script(
        {"method": "generate", "prompt": "Say fox", "seed": 1, "result": {"logits": moved}}
    )
    assert recorded.record().out.startswith(
        f"{title} diverges at logits[3]\n"
        f"           logits[3] was digest {golden['logits'][3]}, is digest {'0' * 16}\n"
    )


def test_changed_facts_are_shown_once_for_all_goldens(recorded: Workspace) -> None:
    """One cause of many changes is one block, with the first few cells."""
    rules = [
        _answers(7, 8, seed=seed) | {"prompt": f"Say {name}"}
        for seed in (1, 2)
        for name in ("haiku", "fox")
    ]
    recorded.write_script(*rules)

    out = recorded.record().out

    assert out.count("changed ") == 1
    ids = "tiny--haiku--seed1, tiny--haiku--seed2, tiny--fox--seed1 and 1 more"
    assert f"changed    since the golden of {ids} was recorded:\n" in out
    assert "           nothing that the provenance records\n" in out


def test_when_all_is_refused_nothing_is_recorded_or_pinned(workspace: Workspace) -> None:
    """Equal refusals are one block, and nothing claims to be up to date."""
    refusal = {"kind": "internal", "message": "no memory"}
    workspace.write_script({"method": "generate", "refuse": refusal})

    ran = workspace.record()

    assert (ran.code, workspace.snapshots.exists()) == (4, False)
    assert ran.out == (
        "refused    4 cells: inconclusive: internal: no memory\n"
        "           tiny--haiku--seed1, tiny--haiku--seed2, tiny--fox--seed1 and 1 more\n"
        "           try: repro-gate doctor shows whether the engine works; if it does, report the "
        "message to its authors\n"
        "nothing was recorded; 0 unchanged, 4 refused\n"
    )


def test_a_model_whose_control_does_not_differ_is_refused_as_a_whole(workspace: Workspace) -> None:
    """Its cells count as refused, and the last line does not claim success."""
    workspace.write_script({"method": "generate", "result": {"tokens": [[7, "20"]]}})

    out = workspace.record().out

    assert "nothing was recorded; 0 unchanged, 4 refused\n" in out
    assert "commit" not in out
    assert not workspace.snapshots.exists()


@pytest.mark.parametrize("answer", ["n\n", "\x04"], ids=repr)
def test_any_answer_but_yes_changes_nothing(recorded: Workspace, answer: str) -> None:
    """The changes are shown before the question."""
    before = contents_of(recorded.snapshots)
    recorded.write_script(_answers(7, 8))

    ran = at_terminal(recorded, "update-snapshots", answer=answer)

    shown, question, rest = ran.out.partition("Write these goldens? [y/N] ")
    assert (ran.code, f"test-cpu/{_FOX}" in shown, question != "") == (4, True, True)
    assert rest.endswith("Nothing was written.\n")
    assert contents_of(recorded.snapshots) == before


def test_the_answer_yes_writes_the_goldens(recorded: Workspace) -> None:
    """Exactly those that were shown."""
    recorded.write_script(_answers(7, 8))

    ran = at_terminal(recorded, "update-snapshots", answer="y\n")

    assert ran.code == 0
    assert json.loads(recorded.golden(_FOX).read_text("utf-8"))["text"] == " 7 8"


def test_ctrl_c_at_the_question_is_130(recorded: Workspace) -> None:
    """Nothing has changed, and the measured cells can be accepted later without a run."""
    before = contents_of(recorded.snapshots)
    recorded.write_script(_answers(7, 8))

    ran = at_terminal(recorded, "update-snapshots", answer="\x03")

    assert (ran.code, contents_of(recorded.snapshots)) == (130, before)
    # The answer may have to be given twice.
    assert re.search(r"\[y/N\] (\^C)+\nrepro-gate: 8 runs kept", ran.out)
    assert _resume(recorded, ran.out) == 0
    assert recorded.run("check").code == 0


def _resume(workspace: Workspace, shown: str) -> int:
    """Run the command that an interrupted update shows, without measuring again."""
    _, _, command = shown.partition("8 runs kept in .repro-gate/runs.jsonl; continue with: ")
    measured = len(workspace.asked())
    code = workspace.run(*command.splitlines()[0].split()[1:], "--yes").code
    assert len(workspace.asked()) == measured
    return code


def test_without_a_terminal_the_list_is_shown_and_nothing_written(recorded: Workspace) -> None:
    """A script without --yes shows what it would have accepted."""
    before = contents_of(recorded.snapshots)
    recorded.write_script(_answers(7, 8))

    ran = recorded.run("update-snapshots")

    assert (ran.code, f"test-cpu/{_FOX}" in ran.out) == (2, True)
    assert "nothing was written: stdin is not a terminal" in ran.err
    assert contents_of(recorded.snapshots) == before
    assert _resume(recorded, ran.err) == 0
    assert contents_of(recorded.snapshots) != before


@pytest.mark.parametrize("name", ["CI", "GITHUB_ACTIONS"])
def test_it_is_refused_in_ci(workspace: Workspace, name: str) -> None:
    """A snapshot that CI writes itself would always pass, so --yes does not help."""
    ran = workspace.run("update-snapshots", "--yes", **{name: "true"})

    assert (ran.code, workspace.snapshots.exists()) == (2, False)
    assert f"goldens are not updated in CI ({name} is set)" in ran.err
    assert workspace.asked("start") == []


def test_runs_that_differ_are_not_recorded(workspace: Workspace) -> None:
    """The unstable cell is named and left out, and the others are recorded."""
    workspace.write_script({**_answers(7), "time": 2})

    ran = workspace.record()

    assert ran.code == 10
    assert f"refused    {_FOX}: nondeterministic: its runs differ from each other\n" in ran.out
    assert ran.out.endswith(
        "3 new; 0 unchanged, 1 refused\n"
        "Wrote snapshots, except for the 1 cell refused; commit what was recorded.\n"
    )
    assert not workspace.golden(_FOX).exists()
    assert workspace.golden("tiny--fox--seed2").exists()


def test_what_could_not_be_measured_is_not_recorded(recorded: Workspace) -> None:
    """A dead engine leaves the golden of its cell as it was."""
    before = contents_of(recorded.snapshots)
    recorded.write_script({**_answers(7), "signal": 9})

    ran = recorded.record()

    assert (ran.code, contents_of(recorded.snapshots)) == (4, before)
    assert f"refused    {_FOX}: inconclusive: the engine was ended by SIGKILL" in ran.out


def test_equal_tokens_are_not_rewritten(recorded: Workspace) -> None:
    """Different provenance, such as a new driver, is no reason to touch a golden."""
    before = contents_of(recorded.snapshots)
    written = recorded.golden(_FOX).stat().st_mtime_ns
    recorded.write_script(facts={"driver": "2.0"})

    ran = recorded.record()

    assert (ran.code, ran.out) == (0, "nothing to record; 4 unchanged, 0 refused\n")
    assert contents_of(recorded.snapshots) == before
    assert recorded.golden(_FOX).stat().st_mtime_ns == written


def test_a_changed_definition_is_recorded_although_the_tokens_are_equal(
    recorded: Workspace,
) -> None:
    """A golden for another sampler is rewritten."""
    recorded.write_matrix(sampler={"top_k": 41, "top_p": 0.95, "min_p": 0.05})

    ran = recorded.record("--only", _FOX)

    assert (
        f"redefined  test-cpu/{_FOX}: the tokens stay the same\n           top_k: 40 -> 41\n"
        in ran.out
    )
    assert "1 redefined; 0 unchanged, 0 refused" in ran.out
    assert json.loads(recorded.golden(_FOX).read_text("utf-8"))["cell"]["sampler"]["top_k"] == 41


def test_only_leaves_the_other_goldens_alone(workspace: Workspace) -> None:
    """With --only nothing but the matching cells is recorded."""
    workspace.record("--only", "tiny--fox--*")

    names = sorted(name.partition("/")[2] for name in contents_of(workspace.snapshots / "goldens"))
    assert names == ["tiny--fox--seed1.json", "tiny--fox--seed2.json"]


def test_a_broken_golden_is_repaired(recorded: Workspace) -> None:
    """An update replaces what no check can read."""
    whole = recorded.golden(_FOX).read_bytes()
    recorded.golden(_FOX).write_text("{", "utf-8")

    ran = recorded.record()

    assert (ran.code, f"repaired   test-cpu/{_FOX}\n" in ran.out) == (0, True)
    assert recorded.golden(_FOX).read_bytes() == whole


def test_prune_removes_orphans_of_this_profile_only(recorded: Workspace) -> None:
    """What another machine recorded is for another machine to prune."""
    theirs = recorded.golden(_FOX, profile="other-gpu")
    theirs.parent.mkdir()
    theirs.write_bytes(recorded.golden(_FOX).read_bytes())
    recorded.write_matrix(prompts=["haiku"])

    ran = recorded.record("--prune")

    assert f"removed    test-cpu/{_FOX}\n" in ran.out
    assert (recorded.golden(_FOX).exists(), theirs.exists()) == (False, True)
    assert recorded.run("check").code == 0


def test_without_prune_orphans_stay(recorded: Workspace) -> None:
    """Goldens are removed only on request."""
    recorded.write_matrix(prompts=["haiku"])

    assert recorded.record().out == "nothing to record; 2 unchanged, 0 refused\n"
    assert recorded.golden(_FOX).exists()


def test_an_orphan_is_pruned_without_running_a_cell(recorded: Workspace) -> None:
    """A pattern that only an orphan matches removes it, and no other change is proposed."""
    orphan = recorded.golden("tiny--gone--seed1")
    orphan.write_text(recorded.golden(_FOX).read_text("utf-8"), "utf-8")
    recorded.write_script(_answers(7, 8))

    ran = recorded.run("update-snapshots", "--prune", "--only", "tiny--gone--*", "--yes")

    assert (ran.code, orphan.exists()) == (0, False)
    assert "1 removed; 0 unchanged, 0 refused" in ran.out


def test_an_update_shows_engine_notes(workspace: Workspace) -> None:
    """A mistake in a model file or a prompt is visible before it becomes a golden."""
    model, prompt = "no pre-tokenizer", "two BOS tokens"
    workspace.write_script(
        {"method": "load", "result": {"notes": [model]}},
        {"method": "generate", "prompt": "Say fox", "result": {"notes": [prompt]}},
    )
    out = workspace.record().out

    assert out.count(f"note       tiny: {model}\n") == 1
    assert out.count(f"note       tiny--fox: {prompt}\n") == 1
