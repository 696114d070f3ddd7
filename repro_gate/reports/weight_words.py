"""What importance weights between policies are good for, in words and in figures."""

from repro_gate.core.logprob_report import WeightReport
from repro_gate.core.outcome import Outcome
from repro_gate.reports import foreign
from repro_gate.reports.figures import amount, chance, percent, plural, shifted
from repro_gate.reports.labelled import Line

USABLE = "These weights can be used."
NOT_USABLE = "These weights cannot be used"
FORMULA = "w = exp(target - base), one for each item"


def pair_words(found: WeightReport) -> str:
    """Return what is compared with what, in printable text."""
    return foreign.one_line(f"{found.target} / {found.base}")


def role_words(found: WeightReport) -> str:
    """Return why the two are compared."""
    if found.is_control:
        return "A/A control, every weight should be 1"
    return "must be usable" if found.must_be_usable else "for information"


def outcome_of_weights(found: WeightReport) -> Outcome:
    """Return what weights mean for the check: those that nobody needs cannot fail it."""
    return Outcome.FAILED if found.failed else Outcome.PASSED


def statement(found: WeightReport) -> str:
    """Return whether the weights can be used, and why not, in printable text."""
    return f"{NOT_USABLE}: {reason(found)}" if found.problems else USABLE


def reason(found: WeightReport) -> str:
    """Return why weights cannot be used, in printable text."""
    return foreign.message("; ".join(found.problems))


def advise_weights(found: WeightReport) -> str:
    """Return what to do about weights that are a finding, in our own words."""
    if found.is_control:
        return "Make the clone call the very same model; until then no weight means anything."
    return "Do not estimate with these weights; compare policies that are closer to the base."


def size_words(found: WeightReport) -> str:
    """Return the effective sample size, and how much of the sample it is."""
    share = found.effective_size / found.items if found.items else 0.0
    return f"{amount(found.effective_size)} ({percent(share)})"


def tail_words(found: WeightReport) -> str:
    """Return the shape of the tail beside its bar."""
    if found.khat is None or found.khat_bar is None:
        return "not fitted, too few items"
    return f"{amount(found.khat)} (bar {amount(found.khat_bar)})"


def weight_evidence(found: WeightReport) -> tuple[Line, ...]:
    """Return the figures of a comparison as labelled lines."""
    centred = (
        f", p = {chance(found.control_p)} if both are the same"
        if found.control_p is not None
        else ""
    )
    return (
        ("role", role_words(found)),
        ("items", f"{plural(found.items, 'item')}; {FORMULA}"),
        ("log-ratio", f"{shifted(found.mean_log_ratio)} nats in the mean{centred}"),
        ("ESS", f"{size_words(found)}"),
        ("largest", f"{percent(found.largest_share)} of the sum of all weights"),
        ("mean weight", amount(found.mean_weight)),
        ("k-hat", tail_words(found)),
    )
