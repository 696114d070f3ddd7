"""A report from elsewhere fits together, or the first place at which it does not is told."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.cells import Cell
from repro_gate.core.consistency import contradiction_in, contradiction_in_shard
from repro_gate.core.contradictions import Contradiction
from repro_gate.core.controls import Control
from repro_gate.core.divergence import Divergence, Place
from repro_gate.core.judgement import Repetition
from repro_gate.core.logprob_report import LogprobReport
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.shards import MeasuredCell, ShardReport
from repro_gate.core.text import printable
from repro_gate.core.tokens import Stop, Token
from repro_gate.core.verdicts import (
    Drift,
    FormerGolden,
    Inconclusive,
    Match,
    Unrecorded,
)
from tests.fakes.checking import scene_of
from tests.fakes.evidence import (
    DIFFERENCE,
    LOST,
    OTHER,
    SAID,
    drifted,
    parting,
    report_of,
    seen,
    shard_report_of,
    unseen,
)
from tests.fakes.logprob_reports import outlier_of, rich_logprobs_of
from tests.fakes.stores import MemoryGoldens
from tests.fakes.values import cell_of, contrast_of, generation_of, golden_of, tokens_of

FOX = cell_of("fox")
TOKEN = Token(99, b"x")


def place_in(report: GateReport) -> str | None:
    """Return the place of the first contradiction in a report."""
    found = contradiction_in(report)
    return None if found is None else found.place


def refused(cell: CellReport) -> str:
    """Return the place of a contradiction in a cell; there is one."""
    place = place_in(report_of(cell))
    assert place is not None
    return place.removeprefix("cells[0].")


def differing(**changes: Any) -> CellReport:
    """Return what is known of a cell whose third run differs, or of one of which that is said."""
    return seen(FOX, replace(DIFFERENCE, **changes))


def parted(**changes: Any) -> Divergence:
    """Return a divergence that departs from a true one."""
    return replace(parting(), **changes)


def _since(divergence: Divergence) -> Unrecorded:
    return Unrecorded(reason="changed", former=FormerGolden(divergence=divergence))


def test_a_report_with_every_verdict_fits_together() -> None:
    """The values that these tests change are consistent before."""
    assert contradiction_in(report_of()) is None
    assert contradiction_in_shard(shard_report_of()) is None


def test_the_report_of_a_check_fits_together() -> None:
    """A check among fakes, with a drifted cell, one without a golden and an orphan."""
    goldens = [golden_of(FOX, OTHER), golden_of(cell_of()), golden_of(cell_of("gone"))]

    report = scene_of(FOX, cell_of(), cell_of("new"), goldens=MemoryGoldens(goldens)).check()

    words = [cell.verdict.word for cell in report.cells]
    assert words == ["drift", "match", "unrecorded"]
    assert [orphan.word for orphan in report.orphans] == ["orphaned"]
    assert contradiction_in(report) is None


def test_a_generation_that_ended_early_may_differ_at_its_end() -> None:
    """There the expected or the observed token is none."""
    shorter = generation_of(7, 8, stop=Stop.END_OF_GENERATION)
    at_end = replace(
        DIFFERENCE,
        divergence=Divergence(place=Place.OUTPUT, position=2, expected=None, observed=TOKEN),
    )

    assert place_in(report_of(drifted(FOX, shorter))) is None
    assert place_in(report_of(replace(seen(FOX, at_end), generation=shorter))) is None


def test_runs_may_differ_in_the_prompt() -> None:
    """The place says of which tokens the position is counted."""
    prompt = Divergence(
        place=Place.PROMPT, position=1, expected=tokens_of(2)[0], observed=tokens_of(3)[0]
    )

    assert place_in(report_of(differing(divergence=prompt))) is None
    assert refused(differing(divergence=replace(prompt, place=Place.OUTPUT))).endswith("divergence")


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        (replace(seen(FOX, Match()), runs=-1), "runs"),
        (replace(seen(FOX, Match()), runs=0), "runs"),
        (replace(unseen(FOX), runs=1), "runs"),
        (replace(seen(FOX, Match()), runs=0, generation=None), "generation"),
        (replace(drifted(FOX), runs=0, generation=None), "generation"),
        (seen(FOX, _since(parted(position=-1))), "verdict.former.divergence"),
        (seen(FOX, _since(parted(observed=parting().expected))), "verdict.former.divergence"),
    ],
)
def test_a_cell_that_does_not_fit_its_verdict(cell: CellReport, place: str) -> None:
    """What is said of a cell, its golden and its runs goes together."""
    assert refused(cell) == place


def test_the_contradiction_is_told() -> None:
    """What was expected and what was found are printable, whoever chose them."""
    found = contradiction_in(report_of(replace(seen(FOX, Match()), profile="x\x1b")))

    assert found == Contradiction(place="cells[0].profile", expected="a name", found="x\\x1b")


def test_an_inconclusive_cell_may_have_been_run() -> None:
    """A check that was interrupted has seen some of the runs."""
    assert place_in(report_of(seen(FOX, LOST))) is None


def _with_golden(change: Callable[[Drift], Drift]) -> CellReport:
    cell = drifted(FOX)
    assert isinstance(cell.verdict, Drift)
    return replace(cell, verdict=change(cell.verdict))


def test_the_golden_of_another_cell() -> None:
    """A golden speaks for its cell, as it is defined."""
    other = golden_of(cell_of("fox", max_tokens=5), OTHER)

    assert refused(_with_golden(lambda v: replace(v, golden=other))) == "verdict.golden.cell"


@pytest.mark.parametrize(
    "divergence",
    [
        parted(position=3),
        parted(position=-1),
        parted(position=2**62),
        parted(expected=TOKEN),
        parted(observed=TOKEN),
        parted(place=Place.PROMPT),
    ],
)
def test_drift_elsewhere_than_the_tokens_say(divergence: Divergence) -> None:
    """Golden and generation are both there, so where they part can be seen."""
    changed = _with_golden(lambda verdict: replace(verdict, divergence=divergence))

    assert refused(changed) == "verdict.divergence"


def test_drift_from_a_golden_that_says_the_same() -> None:
    """Then there is nothing to be seen, and a match was expected."""
    same = golden_of(FOX, SAID)

    assert refused(_with_golden(lambda v: replace(v, golden=same))) == "verdict.divergence"


@pytest.mark.parametrize("run", [-1, 0, 1, 4])
def test_a_run_that_cannot_differ(run: int) -> None:
    """The first is what the others are compared with, and there were three."""
    assert refused(differing(run=run)) == "verdict.run"


@pytest.mark.parametrize(
    "divergence",
    [
        parted(position=-1),
        parted(position=-2, expected=None),
        parted(position=5, expected=None),
        parted(position=4),
        parted(position=1),
        parted(expected=None),
        parted(expected=TOKEN),
        parted(observed=parting().expected),
    ],
)
def test_runs_that_part_where_run_1_says_something_else(divergence: Divergence) -> None:
    """Of the run that differs there is one token, and run 1 is there as a whole."""
    assert refused(differing(divergence=divergence)) == "verdict.divergence"


@pytest.mark.parametrize("divergence", [parted(position=-1), parted(observed=parting().expected)])
def test_a_control_that_differs_nowhere(divergence: Divergence) -> None:
    """What differs has a position, and two tokens that are not the same."""
    first, second = report_of().controls
    controls = (second, replace(first, divergence=divergence))

    assert place_in(replace(report_of(), controls=controls)) == "controls[1].divergence"


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["wall_s", "load_s", "engine_s"])
def test_a_time_that_is_none(name: str, value: Any) -> None:
    """A time is finite, and never below 0."""
    timing = replace(report_of().timing, **{name: value})

    assert place_in(replace(report_of(), timing=timing)) == f"timing.{name}"
    found = contradiction_in_shard(replace(shard_report_of(), timing=timing))
    assert found is not None
    assert found.place == f"timing.{name}"


def test_fewer_tokens_than_none() -> None:
    """Tokens are counted."""
    timing = replace(report_of().timing, generated_tokens=-1)

    assert place_in(replace(report_of(), timing=timing)) == "timing.generated_tokens"


@pytest.mark.parametrize(
    "word", ["--", "--x;rm", "--$(x)", "--a b", "--X", "--a-", "--x\n", "---a"]
)
def test_an_option_that_is_none(word: str) -> None:
    """Of a command that a reader copies, options are not quoted."""
    report = replace(report_of(), repeat_with=("--device", "$(x)", word))
    identity = replace(shard_report_of().identity, options=(word,))

    assert place_in(report) == "repeat_with[2]"
    found = contradiction_in_shard(replace(shard_report_of(), identity=identity))
    assert found is not None
    assert found.place == "identity.options[0]"


NO_NAMES = ("", "..", "../../../etc", "/x/.config", "a\x00b", "x" * 300, "CPU")


@pytest.mark.parametrize("profile", NO_NAMES)
def test_a_profile_that_is_no_name(profile: str) -> None:
    """It becomes the name of a folder, wherever what was observed is written."""
    engines = (replace(report_of().engines[0], profile=profile),)

    assert refused(replace(seen(FOX, Match()), profile=profile)) == "profile"
    assert place_in(replace(report_of(), engines=engines)) == "engines[0].profile"
    found = contradiction_in_shard(replace(shard_report_of(), engines=engines))
    assert found == Contradiction(
        place="engines[0].profile", expected="a name", found=printable(profile)
    )


def _suite(**changes: Any) -> LogprobReport:
    part = rich_logprobs_of()
    cells = (replace(part.cells[0], **changes), *part.cells[1:])
    return replace(part, cells=cells)


def _policy(**changes: Any) -> LogprobReport:
    part = rich_logprobs_of()
    return replace(part, policies=(part.policies[0], replace(part.policies[1], **changes)))


def _tolerance(**changes: Any) -> LogprobReport:
    part = rich_logprobs_of()
    return replace(part, tolerance=replace(part.tolerance, **changes))


@pytest.mark.parametrize(
    ("part", "place"),
    [
        (_suite(band=-0.5), "cells[0].band"),
        (_suite(band=math.inf), "cells[0].band"),
        (_suite(band=math.nan), "cells[0].band"),
        (_suite(center=math.nan), "cells[0].center"),
        (_suite(calibration=(-1.0, math.inf)), "cells[0].calibration"),
        (_suite(totals=(math.nan,)), "cells[0].totals"),
        (_suite(outliers=(replace(outlier_of(), total=-math.inf),)), "cells[0].outliers"),
        (_policy(policy="@team"), "policies[1].policy"),
        (_policy(temperature=math.inf), "policies[1].temperature"),
        (_policy(atom=1.5), "policies[1].atom"),
        (_policy(atom=math.nan), "policies[1].atom"),
        (_tolerance(floor_nats=math.inf), "tolerance"),
        (_tolerance(false_alarm_rate=math.nan), "tolerance"),
    ],
)
def test_a_suite_that_does_not_fit_together(part: LogprobReport, place: str) -> None:
    """What is plotted is finite, names are names, and shares are shares."""
    assert place_in(replace(report_of(), logprobs=(part,))) == f"logprobs[0].{place}"
    found = contradiction_in_shard(replace(shard_report_of(), logprobs=(part,)))
    assert found is not None
    assert found.place == f"logprobs[0].{place}"


def _measured(repetition: Repetition) -> ShardReport:
    cell = MeasuredCell(cell=FOX, repetition=repetition, provenance=0, problem=None)
    return replace(shard_report_of(), cells=(cell,))


@pytest.mark.parametrize(
    ("repetition", "place"),
    [
        (Repetition(first=SAID, runs=0), "runs"),
        (Repetition(first=SAID, runs=2, difference=DIFFERENCE), "difference.run"),
        (Repetition(first=OTHER, runs=3, difference=DIFFERENCE), "difference.divergence"),
    ],
)
def test_a_measured_cell_that_does_not_fit_together(repetition: Repetition, place: str) -> None:
    """What a shard says of its runs goes together."""
    found = contradiction_in_shard(_measured(repetition))

    assert found is not None
    assert found.place == f"cells[0].repetition.{place}"


@pytest.mark.parametrize(("index", "provenance"), [(0, None), (2, 0)])
def test_runs_without_their_provenance(index: int, provenance: int | None) -> None:
    """It is the provenance of the goldens that they may become."""
    cells = list(shard_report_of().cells)
    cells[index] = replace(cells[index], provenance=provenance)

    found = contradiction_in_shard(replace(shard_report_of(), cells=tuple(cells)))
    assert found == Contradiction(
        place=f"cells[{index}].provenance",
        expected="the provenance of the runs, and none without a run",
        found=str(provenance),
    )


@pytest.mark.parametrize("provenance", [-1, 1])
def test_a_provenance_that_is_not_there(provenance: int) -> None:
    """Each cell names one of those that are told."""
    expected = Contradiction(
        place="cells[0].provenance",
        expected="one of 1 provenances, counted from 0",
        found=str(provenance),
    )
    first, *others = shard_report_of().cells
    shard = replace(shard_report_of(), cells=(replace(first, provenance=provenance), *others))

    assert contradiction_in_shard(shard) == expected
    report = report_of(replace(seen(FOX, Match()), provenance=provenance))
    assert contradiction_in(report) == expected


def test_a_measured_cell_of_a_model_that_was_not_loaded() -> None:
    """Without what the model said of itself nobody could tell what was measured."""
    assert contradiction_in_shard(replace(shard_report_of(), models={})) == Contradiction(
        place="models",
        expected=f"tiny, which {cell_of().id} is of",
        found="none of that name",
    )


@pytest.mark.parametrize("cell", [cell_of("other"), cell_of("snow"), cell_of(seed=44)])
def test_a_control_of_a_cell_that_was_not_run(cell: Cell) -> None:
    """There is nothing that it could differ from."""
    (control,) = shard_report_of().controls
    lacking = replace(control, contrast=contrast_of(cell))

    def found(*controls: Control) -> Contradiction | None:
        return contradiction_in_shard(replace(shard_report_of(), controls=controls))

    assert found(control, lacking) == Contradiction(
        place="controls[1].reference",
        expected=f"the output of {cell.id}, which was not run here as a cell",
        found="none",
    )
    assert found(replace(lacking, reference=SAID)) is None
    assert found(replace(lacking, problem=Inconclusive(reason="lost", remedy=None))) is None


def test_a_control_without_the_output_that_it_varied() -> None:
    """Another seed that no cell has was generated, or nothing was."""
    (control,) = shard_report_of().controls
    controls = (replace(control, generation=None),)

    found = contradiction_in_shard(replace(shard_report_of(), controls=controls))
    assert found is not None
    assert found.place == "controls[0].generation"
