"""Whether what is said of log-probabilities fits together: what a check of ours never says."""

import math
from collections.abc import Iterator
from dataclasses import astuple

from repro_gate.core.cells import require_name
from repro_gate.core.contradictions import Contradiction, within
from repro_gate.core.logprob_report import LogprobCellReport, LogprobReport, PolicyNoise
from repro_gate.core.text import printable


def contradictions_in_logprobs(part: LogprobReport) -> Iterator[Contradiction]:
    """Yield what cannot be in the report on a suite."""
    if not all(map(math.isfinite, astuple(part.tolerance))):
        yield Contradiction(place="tolerance", expected="finite numbers", found="another one")
    for index, cell in enumerate(part.cells):
        yield from within(f"cells[{index}]", _in_cell(cell))
    for index, noise in enumerate(part.policies):
        yield from within(f"policies[{index}]", _in_policy(noise))


def _in_cell(found: LogprobCellReport) -> Iterator[Contradiction]:
    if found.band is not None and not 0 <= found.band < math.inf:
        expected = "a distance of at least 0"
        yield Contradiction(place="band", expected=expected, found=str(found.band))
    center = () if found.center is None else (found.center,)
    outliers = (outlier.total for outlier in found.outliers)
    for place, values in (
        ("center", center),
        ("calibration", found.calibration),
        ("totals", found.totals),
        ("outliers", outliers),
    ):
        if not all(map(math.isfinite, values)):
            yield Contradiction(place=place, expected="finite numbers", found="another one")


def _in_policy(noise: PolicyNoise) -> Iterator[Contradiction]:
    try:
        require_name(noise.policy)
    except ValueError:
        yield Contradiction(place="policy", expected="a name", found=printable(noise.policy))
    if not math.isfinite(noise.temperature):
        yield Contradiction(
            place="temperature", expected="a finite number", found=str(noise.temperature)
        )
    if not 0 <= noise.atom <= 1:
        yield Contradiction(place="atom", expected="a share of a whole", found=str(noise.atom))
