"""What importance weights between policies are good for, in words and in figures."""

from typing import assert_never

from repro_gate.core.logprob_report import Usability, WeightReport
from repro_gate.core.outcome import Outcome
from repro_gate.reports.figures import amount, chance, percent, plural, shifted
from repro_gate.reports.foreign import Escaped, message

USABLE = "These weights can be used"
NOT_USABLE = "These weights cannot be used"
UNDETERMINED = "It cannot be determined whether these weights can be used"
FORMULA = "w = exp(target - base), one for each item"


def pair_words(found: WeightReport) -> str:
    """Return what is compared with what."""
    return f"{found.target} / {found.base}"


def role_words(found: WeightReport) -> str:
    """Return why the two are compared."""
    if found.is_control:
        return "A/A control, every weight should be 1"
    return "must be usable" if found.must_be_usable else "for information"


def outcome_of_weights(found: WeightReport) -> Outcome:
    """Return what weights mean for the check: those that nobody needs cannot fail it."""
    if found.failed:
        return Outcome.FAILED
    return Outcome.INCONCLUSIVE if found.inconclusive else Outcome.PASSED


def statement(found: WeightReport) -> str:
    """Return whether the weights can be used, and why not."""
    why = reason(found)
    return f"{claim(found)}: {why}" if why else f"{claim(found)}."


def claim(found: WeightReport) -> str:
    """Return whether the weights can be used, without a full stop."""
    match found.usability:
        case Usability.USABLE:
            return USABLE
        case Usability.UNUSABLE:
            return NOT_USABLE
        case Usability.UNDETERMINED:
            return UNDETERMINED
        case _:
            assert_never(found.usability)


def reason(found: WeightReport) -> Escaped:
    """Return why weights cannot be used, or cannot be judged; empty when they can be used."""
    return message("; ".join(found.problems or found.doubts))


def advise_weights(found: WeightReport) -> str:
    """Return what to do about weights that are no pass."""
    if found.inconclusive:
        return "Add items, or draws where the reason asks for them; this cannot pass until then."
    if found.is_control:
        return "Make the clone call exactly the same model; the weights mean nothing until then."
    return "Do not estimate with these weights; compare policies that are closer to the base."


def size_words(found: WeightReport) -> str:
    """Return the effective sample size, and how much of the sample it is."""
    share = found.effective_size / found.items if found.items else 0.0
    return f"{amount(found.effective_size)} ({percent(share)})"


def mean_words(found: WeightReport) -> str:
    """Return the mean weight, and how likely one so far from 1 would be by chance."""
    return f"{amount(found.mean_weight)} (p = {chance(found.mean_p)})"


def tail_words(found: WeightReport) -> str:
    """Return the shape of the tail beside its bar."""
    if found.khat is None or found.khat_bar is None:
        return "not fitted, too few items"
    return f"{amount(found.khat)} (bar {amount(found.khat_bar)})"


def weight_evidence(found: WeightReport) -> tuple[tuple[str, str], ...]:
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
        ("mean weight", mean_words(found)),
        ("k-hat", tail_words(found)),
    )
