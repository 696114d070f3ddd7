"""The draws of a cell against its band."""

import pytest

from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Evidence, Shifted
from repro_gate.reports.html.charts import Kind
from repro_gate.reports.html.check.draws import Draws, draws_of, effect_of, strip_of
from tests.fakes.logprob_reports import (
    CALIBRATION,
    LOGPROB_VERDICTS,
    deciding_of,
    logprob_cell_report_of,
    outlier_of,
    token_of,
)
from tests.fakes.logprob_reports import (
    effect_of as an_effect,
)

AGREES = Agrees(equivalence=Equivalence.IDENTICAL)


def labels_of(*, now: tuple[float, ...], band: float = 0.5) -> tuple[str, ...]:
    """Return the labels of the axis of some draws around -42."""
    return strip_of(Draws(center=-42.0, band=band, calibration=(-42.0,), now=now), name="x").axis


@pytest.mark.parametrize("word", sorted(LOGPROB_VERDICTS))
def test_a_cell_with_a_baseline_has_draws(word: str) -> None:
    """One without has none, whatever its verdict."""
    found = LOGPROB_VERDICTS[word]

    assert (draws_of(found) is None) == (found.center is None)


def test_the_token_that_decided_is_drawn() -> None:
    """The sum may hide it."""
    token = token_of(5)
    effect = an_effect(token, evidence=Evidence.TOKENS, deciding=deciding_of(token))
    found = draws_of(logprob_cell_report_of(Shifted(effect=effect, provenance=())))

    assert found is not None
    assert (found.token, found.center, found.band) == (5, -0.5, 0.1)
    assert "x, token 5: the band is -0.6000 to -0.4000 nats" in strip_of(found, name="x").label


def test_the_sums_are_drawn_with_their_outliers() -> None:
    """Those are in the label and beyond the end of the axis."""
    cell = logprob_cell_report_of(AGREES, outliers=(outlier_of(),))
    found = draws_of(cell)
    assert found is not None
    strip = strip_of(found, name="base--capital")

    assert strip.label == (
        "base--capital: the band is -42.5000 to -41.5000 nats; "
        "10 baseline draws, -42.5000 to -41.5000; 5 draws, -42.2500 to -42.0000; "
        "1 outlier, -156.5000"
    )
    assert strip.axis == ("← -1.2500", "-42.0000", "+1.2500")
    assert Kind.CROSS in {path.kind for path in strip.paths}


@pytest.mark.parametrize(
    ("now", "band", "axis"),
    [
        ((-42.0,), 0.5, ("-1.2500", "-42.0000", "+1.2500")),
        ((-44.0,), 0.5, ("-2.2000", "-42.0000", "+2.2000")),
        ((-22.0,), 0.5, ("-6.0000", "-42.0000", "+6.0000 →")),
        ((-42.0,), 0.0, ("-0.0100", "-42.0000", "+0.0100")),
        ((), 0.0, ("-0.0100", "-42.0000", "+0.0100")),
    ],
)
def test_the_axis_is_scaled_to_the_band(
    now: tuple[float, ...], band: float, axis: tuple[str, ...]
) -> None:
    """It reaches draws that are near, and has an arrow towards those that are not."""
    assert labels_of(now=now, band=band) == axis


def test_without_a_draw_the_label_counts_none() -> None:
    """A range of nothing would be an error."""
    strip = strip_of(Draws(center=0.0, band=1.0, calibration=(), now=()), name="x")

    assert strip.label.endswith("0 baseline draws; 0 draws")


def effect_words(found: LogprobCellReport) -> bool:
    """Return whether a cell has a significant change."""
    return effect_of(found) is not None


def test_only_a_shift_and_a_change_have_an_effect() -> None:
    """Whatever else is wrong with the others."""
    changed = logprob_cell_report_of(Agrees(equivalence=Equivalence.NOT_SHOWN, changed=an_effect()))

    assert effect_words(changed)
    assert not effect_words(logprob_cell_report_of(AGREES))
    assert {word for word, each in LOGPROB_VERDICTS.items() if effect_words(each)} == {"drift"}
    assert CALIBRATION[0] == -42.0
