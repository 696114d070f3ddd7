"""The sections on each finding in a comment."""

import re
from dataclasses import replace

import pytest

from repro_gate.core.changes.groups import change_groups
from repro_gate.core.comments import CiRun
from repro_gate.core.report import FinishedCheck, GateReport
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Unrecorded
from repro_gate.reports.findings.logprob_wording import BELOW_FLOOR
from repro_gate.reports.github.body import finding_sections, passed_sections
from repro_gate.reports.github.comment import LIMIT, render_comment
from repro_gate.reports.github.fit import utf16_units
from repro_gate.reports.github.sections import hosted_sections, token_sections
from repro_gate.reports.github.state import tally
from tests.fakes.logprob_reports import (
    logprob_cell_of,
    logprob_report_of,
    outlier_of,
    policy_noise_of,
    rich_logprobs_of,
    suite_test_of,
    weight_report_of,
)
from tests.fakes.values import control_of
from tests.reports.conftest import (
    cell_of,
    cell_report_of,
    differing_run_of,
    drift_of,
    gate_report_of,
    generation_of,
    orphan_of,
    rich_report_of,
)
from tests.reports.github.samples import MARKER, RUN, measured_on

DRIVER = FactChange(name="device.driver", before="550.54", after="560.10")


SIDES = ("---", "+++")
FORK = replace(RUN, from_fork=True, from_workflow_run=True, conclusion="failure")


def text_of(report: GateReport, run: CiRun = RUN) -> str:
    """Return all sections of a report as text."""
    return "\n".join("\n".join(section.block) for section in finding_sections(report, run))


def drifts_of(*changes: tuple[FactChange, ...]) -> GateReport:
    """Return a report of drifts that differ from each other, each with its changed facts."""
    return gate_report_of(
        *(
            drift_of(
                generation_of("a b"), generation_of(f"a x{seed}"), cell_of(seed=seed), *changed
            )
            for seed, changed in enumerate(changes, start=1)
        )
    )


def test_changes_shared_by_all_drifts_are_shown_once() -> None:
    """One driver update may move many cells."""
    text = text_of(drifts_of((DRIVER,), (DRIVER,)))

    assert text.count("| `device.driver` | `550.54` | `560.10` |") == 1
    assert "(same for every cell that differs):" in text


def test_changes_shared_by_some_drifts_are_shown_with_each() -> None:
    """Other cells may have other causes."""
    text = text_of(drifts_of((DRIVER,), (DRIVER,), ()))

    assert text.count("| `device.driver` | `550.54` | `560.10` |") == 2
    assert text.count("The provenance has not changed since the golden was recorded.") == 1
    assert "same for every" not in text


def test_changes_shared_by_all_hosted_drifts_are_shown_once() -> None:
    """The same holds for baselines."""
    part = rich_logprobs_of()
    shifted = part.cells[2]
    again = replace(shifted, cell=logprob_cell_of("other"), totals=(-44.0,))
    text = text_of(gate_report_of(logprobs=(replace(part, cells=(shifted, again)),)))

    assert text.count("| `answer.model` | `m-1` | `m-2 \\| @team` |") == 1
    assert "Changed since the baselines were recorded (same for every drift from them):" in text


def test_digests_are_shortened_while_they_differ() -> None:
    """A few digits are enough."""
    changed = FactChange(name="model.sha256", before="a" * 64, after="b" * 64)

    assert f"| `{'a' * 12}…` | `{'b' * 12}…` |" in text_of(drifts_of((changed,)))


def test_digests_with_the_same_start_are_not_shortened() -> None:
    """The change must be visible."""
    changed = FactChange(name="model.sha256", before="a" * 64, after=f"{'a' * 63}b")

    assert f"| `{'a' * 64}` | `{'a' * 63}b` |" in text_of(drifts_of((changed,)))


def test_many_changes_are_cut() -> None:
    """The first changes are shown, and the others counted."""
    changes = tuple(replace(DRIVER, name=f"fact.{number}") for number in range(10))
    text = text_of(drifts_of(changes))

    assert ("`fact.7`" in text, "`fact.8`" in text, "and 2 more." in text) == (True, False, True)


def test_two_of_each_gate_are_open() -> None:
    """Neither gate crowds out the other."""
    report = replace(rich_report_of(), logprobs=(rich_logprobs_of(),))
    firsts = [section.block[0] for section in finding_sections(report, RUN) if not section.name]

    assert [line.startswith("#### ") for line in firsts] == [True] * 4 + [False] * (len(firsts) - 4)
    assert len(firsts) == len(token_sections(report)) + len(hosted_sections(report))


def test_a_name_that_html_could_misread_is_code() -> None:
    """The line of a folded finding is HTML."""
    (section,) = token_sections(gate_report_of(orphan_of("<b>@you</b>")))

    assert list(section.folded()[:4]) == [
        "<details>",
        "<summary>❌ orphaned</summary>",
        "",
        "`<b>@you</b>`",
    ]


def test_many_cells_of_one_finding_are_cut() -> None:
    """The first ids are shown, and the others counted."""
    cells = [cell_report_of(Unrecorded(reason="x"), cell_of(seed=seed)) for seed in range(1, 10)]
    (section,) = token_sections(gate_report_of(*cells))
    lines = list(section.folded())

    assert lines[1] == "<summary>❌ unrecorded: 9 cells</summary>"
    assert [line for line in lines if line.startswith("- ")][-2:] == [
        "- `tiny-qwen2--autumn-leaves--seed6`",
        "- and 3 more",
    ]


def test_many_figures_of_one_finding_are_cut() -> None:
    """A cell with very many outliers stays readable."""
    part = rich_logprobs_of()
    outlying = replace(part.cells[4], outliers=(outlier_of(),) * 20)
    report = gate_report_of(logprobs=(logprob_report_of(outlying),))
    (section,) = hosted_sections(report)
    lines = list(section.open())

    assert [line for line in lines if line.startswith("and ")] == ["and 25 more lines"]


def test_other_machines_accept_the_observed_goldens() -> None:
    """The command names the matrix and no device, as nothing is measured."""
    options = ("--device", "cuda", "--config", "gate.toml")
    report = replace(drifts_of(()), repeat_with=options)
    text = text_of(report)

    (group,) = change_groups(report)
    assert "The observed goldens are for profile `cpu-x86-64`. Unpack the full report" in text
    command = f"repro-gate update-snapshots --config gate.toml --from DIR --cause {group.id}"
    assert f"\n{command}\n" in text


def test_many_profiles_are_cut() -> None:
    """The first few are named."""
    report = drifts_of(*[()] * 6)
    cells = [measured_on(f"p{place}", cell) for place, cell in enumerate(report.cells)]

    assert "for profiles `p0`, `p1`, `p2`, `p3`, 2 more. Unpack" in text_of(
        replace(report, cells=tuple(cells))
    )


def test_without_goldens_nothing_is_accepted_from_elsewhere() -> None:
    """A check of log-probabilities has no goldens."""
    assert "--from" not in text_of(gate_report_of(logprobs=(rich_logprobs_of(),)))


def test_nothing_of_a_fork_is_to_be_accepted_from_its_artifact() -> None:
    """The author of the pull request controls the artifacts."""
    text = text_of(drifts_of(*[()] * 9), FORK)
    body = render_comment(
        FinishedCheck(report=drifts_of(*[()] * 9)), marker=MARKER, run=FORK, artifact_url=None
    )

    assert "--from" in text_of(drifts_of(*[()] * 9))
    assert ("--from" in text, "--from" in body) == (False, False)
    assert body.index("This run is from a fork") < body.index("# accept")
    assert (
        "**This run is from a fork**, so its artifacts are untrusted: "
        "measure on your own machine before accepting anything."
    ) in body


def test_a_fork_without_anything_to_accept_is_not_warned_of() -> None:
    """Cells that were not measured cannot be accepted."""
    assert "fork" not in text_of(rich_of_hosted(), FORK)


def rich_of_hosted() -> GateReport:
    """Return a report of log-probabilities alone."""
    return gate_report_of(logprobs=(rich_logprobs_of(),))


@pytest.mark.parametrize(("count", "times"), [(1, 0), (2, 1)])
def test_one_command_accepts_the_findings_of_a_fork(count: int, times: int) -> None:
    """It measures again, with the suites and options of the check."""
    options = ("--device", "cuda", "--config", "a b")
    text = text_of(replace(drifts_of(*[()] * count), repeat_with=options), FORK)

    assert (
        text.count(
            f"# accept all {count} cells that drifted or have no golden\n"
            "repro-gate update-snapshots --device cuda --config 'a b' --suite embedded\n"
        )
        == times
    )


def test_the_command_that_downloads_the_report_is_there() -> None:
    """Results of a GPU are accepted on a laptop with two commands."""
    options = ("--device", "cuda", "--config", "a b")
    report = replace(drifts_of(()), repeat_with=options)
    text = text_of(report, replace(RUN, artifact="repro-gate"))

    folder = "repro-gate-run-17204881234"
    assert (
        f"gh run download 17204881234 --repo octo-org/serving --name repro-gate --dir {folder}\n"
        "```\n"
    ) in text
    assert f"repro-gate update-snapshots --config 'a b' --from {folder} --cause " in text
    assert "DIR" not in text


def test_a_report_without_goldens_can_be_downloaded_too() -> None:
    """It is not offered for the run of a fork."""
    uploaded = replace(RUN, artifact="repro-gate")
    command = "# download the report\ngh run download 17204881234 "

    assert command in text_of(rich_of_hosted(), uploaded)
    assert "gh run download" not in text_of(rich_of_hosted(), replace(FORK, artifact="repro-gate"))


def test_four_hundred_drifts_have_an_overview() -> None:
    """Twenty are shown in full, and the others listed."""
    report = drifts_of(*[()] * 400)
    body = render_comment(FinishedCheck(report=report), marker=MARKER, run=RUN, artifact_url=None)
    listed = re.findall(r"^drift: (tiny-qwen2--autumn-leaves--seed\d+)$", body, re.MULTILINE)

    assert utf16_units(body) <= LIMIT
    assert "<summary>Models</summary>" in body
    assert "**400 cells**: `drift: " in body
    assert "<summary>380 more findings</summary>" in body
    assert "**Omitted**" not in body
    assert body.count("❌ drift: ") == 20
    assert listed == [cell.id for cell in report.cells[20:]]


def test_a_long_list_of_findings_is_bounded() -> None:
    """It counts the rest, and names a few cells of each finding."""
    cells = [
        cell_report_of(Unrecorded(reason=f"r{number // 3}"), cell_of(f"p{number:05}"))
        for number in range(3_000)
    ]
    body = render_comment(
        FinishedCheck(report=gate_report_of(*cells)), marker=MARKER, run=RUN, artifact_url=None
    )
    lines = [line for line in body.splitlines() if line.startswith("unrecorded: ")]

    assert lines[0] == (
        "unrecorded: 3 cells: tiny-qwen2--p00060--seed42, tiny-qwen2--p00061--seed42, and 1 more"
    )
    assert f"\nand {980 - len(lines)} more.\n" in body
    assert 20_000 < sum(map(len, lines)) < 24_000
    assert utf16_units(body) <= LIMIT


def test_a_listed_pair_is_named_whole() -> None:
    """Both ids fit, so nothing is counted."""
    cells = [cell_report_of(Unrecorded(reason="x"), cell_of(seed=seed)) for seed in (1, 2)]
    (section,) = token_sections(gate_report_of(*cells))

    assert section.line == (
        "unrecorded: 2 cells: tiny-qwen2--autumn-leaves--seed1, tiny-qwen2--autumn-leaves--seed2"
    )


def test_many_models_are_cut() -> None:
    """The table shows the first models, and counts the others."""
    cells = [
        cell_report_of(Unrecorded(reason="x"), cell_of(model=f"m{each}")) for each in range(40)
    ]
    text = text_of(gate_report_of(*cells))

    assert ("| `m29` |" in text, "| `m30` |" in text, "\nand 10 more.\n" in text) == (
        True,
        False,
        True,
    )


def test_a_side_without_text_is_explained() -> None:
    """An empty side would look like an error."""
    one, two = generation_of("a b"), generation_of("a c")
    cells = [
        differing_run_of(cell_of(seed=1), one, two),
        drift_of(generation_of("a"), one, cell_of(seed=2)),
        drift_of(one, generation_of("a"), cell_of(seed=3)),
        drift_of(one, two, cell_of(seed=4)),
    ]
    lines = [line for line in text_of(gate_report_of(*cells)).splitlines() if line[:3] in SIDES]

    assert lines == [
        *('--- run 1  " b"', "+++ run 4  (only the differing token was kept)"),
        *("--- golden    (end of sequence)", '+++ observed  " b"'),
        *('--- golden    " b"', "+++ observed  (end of sequence)"),
        *('--- golden    " b"', '+++ observed  " c"'),
    ]


def test_an_orphan_is_removed() -> None:
    """It cannot be accepted."""
    text = text_of(gate_report_of(orphan_of("gone")))

    assert "\n# remove it\nrepro-gate update-snapshots --prune\n" in text
    assert "accept" not in text


def test_a_pass_shows_its_notes() -> None:
    """A change within the tolerance has one sentence."""
    part = logprob_report_of(rich_logprobs_of().cells[1])
    sections = [
        section.block[0] for section in passed_sections(gate_report_of(logprobs=(part,)), RUN)
    ]

    assert sections[1:] == [
        f"**Note**: {BELOW_FLOOR} (0.1000 nats).",
        "**Note**: outliers were redrawn; above 5 % of all draws they are a finding.",
    ]


def test_many_suites_are_cut() -> None:
    """The line with all verdicts counts every suite."""
    parts = tuple(logprob_report_of(suite=f"s{number}") for number in range(12))

    assert "- and 2 more suites" in text_of(gate_report_of(logprobs=parts))


def test_the_tally_counts_failures_beyond_cells() -> None:
    """A check may fail although every cell agrees."""
    part = rich_logprobs_of()
    uncontrolled = logprob_report_of(
        suite_test=suite_test_of(),
        policies=(policy_noise_of(), policy_noise_of("other")),
        weights=(weight_report_of("too few"), weight_report_of()),
        controls=(),
    )
    report = gate_report_of(
        controls=(control_of(),),
        logprobs=(replace(part, cells=part.cells[:1], orphans=()), uncontrolled),
    )

    assert tally(report) == (
        "**1 suite shifted as a whole, 2 sets of weights not usable, "
        "1 set of weights undetermined, 2 controls without a difference, "
        "2 policies without a control**; 1 agrees"
    )


def test_the_tally_of_one_policy_is_singular() -> None:
    """One policy is not plural."""
    part = logprob_report_of(controls=())

    assert tally(gate_report_of(logprobs=(part,))) == "**1 policy without a control**"


def test_a_golden_of_another_profile_is_not_accepted_here() -> None:
    """A suite against another profile has no goldens of this one."""
    cells = [replace(cell, profile="gpu") for cell in drifts_of(()).cells]
    text = text_of(gate_report_of(*cells))

    assert "#### ❌ drift: " in text
    assert "update-snapshots" not in text
