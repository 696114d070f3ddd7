"""The output of a check about cells that do not match."""

import json
import shlex
from typing import Any

from repro_gate.adapters.files.results import read_report
from repro_gate.core.report import FinishedCheck
from tests.cli.workspaces import Workspace

_FOX = "tiny--fox--seed1"


def _answers(*ids: int) -> dict[str, Any]:
    """Return a rule by which one cell generates other tokens."""
    tokens = [[number, f" {number}".encode().hex()] for number in ids]
    return {"method": "generate", "prompt": "Say fox", "seed": 1, "result": {"tokens": tokens}}


def test_drift_shows_everything_that_is_needed_to_judge_it(workspace: Workspace) -> None:
    """Both tokens, their position, their context and the command that accepts them are shown."""
    workspace.write_script(_answers(5, 6, 70, 8))
    workspace.record()
    workspace.write_script(_answers(5, 6, 7, 8), facts={"driver": "2.0"})

    out = workspace.run("check").out

    assert out.startswith(
        """\
drift  tiny--fox--seed1
  2 identical runs, but they diverge from the golden at output[2]
  context             " 5 6"
  golden              70 " 70"
  observed            7 " 7"
  golden continues    " 70 8"
  observed continues  " 7 8"
  changed             driver: (not reported) -> 2.0
"""
    )
    assert "repro-gate update-snapshots --suite quick --only tiny--fox--seed1\n" in out


def test_the_command_of_a_drift_accepts_it(recorded: Workspace) -> None:
    """After the command that the report shows, the check passes."""
    recorded.write_script(_answers(1, 2, 3))
    out = recorded.run("check").out
    _, program, *arguments = shlex.split(
        next(line for line in out.splitlines() if line.startswith("  command"))
    )

    assert program == "repro-gate"
    assert recorded.run(*arguments, "--yes").code == 0
    assert recorded.run("check").code == 0


def test_a_shorter_answer_drifts_at_its_end(recorded: Workspace) -> None:
    """An answer that ends early parts from its golden where it has no token any more."""
    golden = json.loads(recorded.golden(_FOX).read_text("utf-8"))
    first, second = (int(line.split()[0]) for line in golden["tokens"][:2])
    recorded.write_script(_answers(first, second))

    recorded.run("check")

    divergence = recorded.cell(_FOX)["verdict"]["divergence"]
    assert (divergence["position"], divergence["observed"]) == (2, None)
    assert divergence["expected"]["data"] == golden["tokens"][2].partition(" ")[2]


def test_another_tokenizer_drifts_at_the_prompt(recorded: Workspace) -> None:
    """Different prompt tokens for the same text are distinguished from different output."""
    recorded.write_script({**_answers(), "result": {"prompt": [[1, "20"]]}})

    recorded.run("check")

    divergence = recorded.cell(_FOX)["verdict"]["divergence"]
    assert (divergence["place"], divergence["position"]) == ("prompt", 0)


def test_a_changed_definition_is_unrecorded_with_a_reason(recorded: Workspace) -> None:
    """A golden for another max_tokens is not compared with this cell."""
    prompts = {
        name: {"text": f"Say {name}", "temperature": 0.7, "max_tokens": number}
        for name, number in (("haiku", 4), ("fox", 5))
    }
    recorded.write_matrix(prompts_table=prompts)

    assert recorded.run("check").code == 10
    (finding,) = [each for each in recorded.document()["findings"] if _FOX in each["ids"]]
    assert (finding["verdict"], recorded.cell(_FOX)["verdict"]["kind"]) == ("unrecorded",) * 2
    assert finding["reason"].endswith(" max_tokens was 4 (profile test-cpu)")
    assert recorded.cell("tiny--haiku--seed1")["verdict"]["kind"] == "match"


def test_another_machine_has_no_golden_yet(recorded: Workspace) -> None:
    """The golden of one profile is not used for another, even if the tokens are equal."""
    recorded.write_script(profile="other-gpu")

    ran = recorded.run("check")

    assert (ran.code, set(recorded.verdicts().values())) == (10, {"unrecorded"})
    assert {cell["profile"] for cell in recorded.report()["cells"]} == {"other-gpu"}
    assert "no golden recorded for this cell on this machine profile" in ran.out


def test_a_layer_that_is_elsewhere_is_not_measured(recorded: Workspace) -> None:
    """A GPU that was asked for and only half used gives no verdict."""
    recorded.write_script({"method": "load", "result": {"layers_on_device": 1}})

    ran = recorded.run("check", "--device", "cuda")

    assert ran.code == 4
    assert "cuda was asked for, but 1 layers of tiny are on it, not 2" in ran.out


def test_the_command_repeats_matrix_and_device(recorded: Workspace) -> None:
    """The copied command accepts what was observed, with the same matrix and device."""
    (recorded.folder / "repro-gate.toml").rename(recorded.folder / "mine.toml")
    recorded.write_script(_answers(7, 8))

    ran = recorded.run("check", "--config", "mine.toml", "--device", "cuda:1")

    accepts = "update-snapshots --config mine.toml --device cuda:1 --suite quick --only"
    assert f"repro-gate {accepts} {_FOX}" in ran.out


def test_fail_fast_stops_after_the_first_finding(recorded: Workspace) -> None:
    """The drift is reported after one run, and what was not run is inconclusive."""
    recorded.write_script(_answers(1, 2, 3))

    ran = recorded.run("check", "--fail-fast")

    reason = "--fail-fast stopped the check after the first finding"
    document = recorded.document()
    assert (ran.code, document["exit_code"]) == (10, 10)
    assert document["result"]["report"]["interrupted"] is False
    assert recorded.verdicts() == {
        "tiny--haiku--seed1": "inconclusive",
        "tiny--haiku--seed2": "inconclusive",
        _FOX: "drift",
        "tiny--fox--seed2": "inconclusive",
    }
    drift = next(each for each in document["findings"] if _FOX in each["ids"])
    assert drift["reason"] == f"the remaining runs were not made: {reason}"
    left = recorded.cell("tiny--fox--seed2")
    assert (left["runs"], left["verdict"]["reason"]) == (0, reason)
    assert left["verdict"]["remedy"] == "run the check without --fail-fast"


def test_a_report_of_a_check_that_failed_fast_can_be_published(recorded: Workspace) -> None:
    """A missing golden with fewer runs than planned is consistent."""
    recorded.golden("tiny--haiku--seed1").unlink()

    assert recorded.run("check", "--fail-fast").code == 10
    assert recorded.verdicts()["tiny--haiku--seed1"] == "unrecorded"
    assert isinstance(read_report(recorded.output), FinishedCheck)
    assert recorded.run("update-snapshots", "--from", ".repro-gate").out.startswith("nothing")


def test_fail_fast_without_a_finding_changes_nothing(recorded: Workspace) -> None:
    """Everything is measured, and passes."""
    ran = recorded.run("check", "--fail-fast")

    assert (ran.code, set(recorded.verdicts().values())) == (0, {"match"})


def test_a_shard_does_not_fail_fast(recorded: Workspace) -> None:
    """What it left out would be missing in the whole."""
    ran = recorded.run("check", "--fail-fast", "--shard", "1/2")

    assert (ran.code, "--fail-fast and --shard exclude each other" in ran.err) == (2, True)
