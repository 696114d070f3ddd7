"""The verdicts on tokens in words, and what to do about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never, get_args

from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.controls import ControlReport, heats_of
from repro_gate.core.tokens.generation import Divergence, Place
from repro_gate.core.tokens.golden import FactChange, definition
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
    Verdict,
)
from repro_gate.reports.findings.divergence import format_place
from repro_gate.reports.findings.modes import depends_claim
from repro_gate.reports.text import escape
from repro_gate.reports.text.escape import Escaped
from repro_gate.reports.text.format import plural

WORDS: Final[tuple[str, ...]] = (
    *(kind.word for kind in get_args(Verdict)),
    Orphan.word,
)
"""In the order in which reports count them."""

_IN_WORDS: Final = frozenset(
    {
        *("model", "prompt", "text", "chat", "seed", "max_tokens"),
        *("temperature", "top_k", "top_p", "min_p"),
    }
)
"""The parts of a definition that reports show otherwise."""
_AGREES: Final = "agrees"
"""The only verdict that is a verb."""
NO_ACTION: Final = "No action needed."
ACCEPT_OR_START_WITH: Final = "If the change is intended, accept it. Otherwise start with {}."
_ADVICE_ALONE: Final = "Find what differs between two runs; no golden can match until they agree."
_ADVICE_SHARED: Final = (
    "Check with contexts = 1 in the engine's settings: it shows whether runs depend on each other."
)
_ADVICE_DEPENDS: Final = (
    "Change how the server batches or caches, or require a lower level of these modes."
)
ADVICE_WITH_REMEDY: Final = "Apply the remedy and check again."
_ADVICE_WITHOUT_REMEDY: Final = (
    "No known remedy for this reason; repro-gate doctor shows the installed versions and devices."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A verdict in words, and what to do about it."""

    claim: str
    """Without untrusted text."""
    advice: str
    """Without untrusted text."""
    reason: Escaped | None = None
    remedy: Escaped | None = None
    suspects: tuple[FactChange, ...] = ()
    """What changed since the golden was recorded; escaped."""
    grade: Escaped | None = None
    """Of a drift, and what it means for the outcome."""

    @property
    def sentence(self) -> str:
        """The claim with a capital and a full stop."""
        return f"{self.claim[0].upper()}{self.claim[1:]}."


def format_counts(
    counts: Mapping[str, int], words: Sequence[str] = WORDS, *, drifts: str = ""
) -> str:
    """Return the number of cells with each verdict, without zeros, in the order of the words.

    Args:
        counts: cells by verdict.
        words: the verdicts.
        drifts: to be added to the number of drifts.
    """
    return ", ".join(
        f"{counts[word]} {'agree' if word == _AGREES and counts[word] != 1 else word}"
        f"{drifts if word == Drift.word else ''}"
        for word in words
        if counts.get(word)
    )


def describe(cell: CellReport) -> Description:
    """Describe the verdict on a cell."""
    match cell.verdict:
        case Match():
            found = Description(claim=_matching(cell), advice=NO_ACTION)
        case Nondeterministic() as verdict:
            shared = _sharing(verdict)
            found = Description(
                claim=_differing(verdict),
                advice=_ADVICE_ALONE if shared is None else _ADVICE_SHARED,
                reason=None if shared is None else escape.one_line(shared),
            )
        case Drift() as verdict:
            found = Description(
                claim=_drifting(verdict, cell.runs),
                advice=ACCEPT_OR_START_WITH.format("what changed"),
                suspects=tuple(map(escape.escape_change, verdict.provenance)),
            )
        case Depends(provenance=provenance):
            found = Description(
                claim=depends_claim(cell),
                advice=_ADVICE_DEPENDS,
                suspects=tuple(map(escape.escape_change, provenance)),
            )
        case Unrecorded(reason=reason):
            found = Description(
                claim="no golden recorded for this cell on this machine profile",
                advice="Record a golden and commit it.",
                reason=escape.message(f"{reason} (profile {cell.profile})"),
            )
        case Vacuous() as verdict:
            found = _vacuous(verdict, cell)
        case Inconclusive() as verdict:
            found = describe_inconclusive(verdict)
        case _:
            assert_never(cell.verdict)
    return _with_unfinished(found, cell)


def _vacuous(verdict: Vacuous, cell: CellReport) -> Description:
    if verdict.factor is not None:
        advice, reason = _advise(verdict.factor), escape.one_line(_unshown(verdict.factor))
        return Description(claim="a match would prove nothing", advice=advice, reason=reason)
    (result,) = (each for each in cell.modes if each.mode == verdict.mode)
    return Description(
        claim=f"agreement in {verdict.mode} would prove nothing",
        advice=ADVICE_WITH_REMEDY if result.remedy else _ADVICE_WITHOUT_REMEDY,
        reason=escape.message(str(result.reason)),
        remedy=None if result.remedy is None else escape.message(result.remedy),
    )


def describe_inconclusive(verdict: Inconclusive) -> Description:
    """Describe why a cell of either gate was not measured."""
    reason, remedy = verdict.reason, verdict.remedy
    return Description(
        claim="not measured, so neither a pass nor drift",
        advice=_ADVICE_WITHOUT_REMEDY if remedy is None else ADVICE_WITH_REMEDY,
        reason=escape.message(reason),
        remedy=None if remedy is None else escape.message(remedy),
    )


def describe_finding(finding: Drift | Nondeterministic | Depends) -> str:
    """Describe the finding of the latest run of a cell, while further runs are to come."""
    match finding:
        case Drift():
            return f"run 1 differs from the golden at {format_place(finding.divergence)}"
        case Nondeterministic():
            return _differing(finding)
        case Depends():
            return f"answers in {', '.join(map(str, finding.modes))} differ from run 1"
        case _:
            assert_never(finding)


def describe_orphan(recorded: str) -> Description:
    """Describe a golden or a baseline that no cell uses."""
    return Description(
        claim=f"no cell in the matrix uses this {recorded}",
        advice=f"Remove the {recorded}, or restore its cell in the matrix.",
    )


def _advise(factor: Factor) -> str:
    """Return what to do where the output of a model does not depend on a factor."""
    match factor:
        case Factor.SEED:
            return "Make the engine use the seed, or set temperature = 0 if nothing is sampled."
        case Factor.PROMPT:
            return "Check the model file and the engine: the output must depend on the prompt."
        case _:
            assert_never(factor)


def describe_control(control: ControlReport) -> Description:
    """Describe the result of a control."""
    advice = _advise(control.contrast.factor) if control.failed else NO_ACTION
    return Description(claim=_control_claim(control), advice=advice)


def _control_claim(control: ControlReport) -> str:
    contrast = control.contrast
    if control.problem is not None:
        return f"no other {contrast.factor} could be tried"
    if control.divergence is None:
        return _unshown(contrast.factor)
    seed = contrast.factor is Factor.SEED
    changed = f"seed {contrast.varied.seed}" if seed else "another prompt"
    sampler = contrast.cell.sampler
    heat = f" at temperature {sampler.temperature:g}" if sampler in heats_of(sampler) else ""
    return f"{changed}{heat} changes the output at {format_place(control.divergence)}"


def describe_sampler(cell: Cell) -> str:
    """Describe how a cell is sampled, without its seed."""
    sampler = cell.sampler
    drawn = f"top-k {sampler.top_k}, top-p {sampler.top_p}, min-p {sampler.min_p}"
    limit = plural(cell.max_tokens, "token")
    return f"Temperature {sampler.temperature}, {drawn}, at most {limit}."


def further_definition(cell: Cell) -> dict[str, str]:
    """Return what defines a cell besides what reports have in words; untrusted."""
    named = definition(cell)
    kwargs = {} if cell.chat is None else {"template_kwargs": cell.chat.template_kwargs}
    if cell.chat is not None and not cell.chat.add_generation_prompt:
        kwargs["add_generation_prompt"] = "false"
    return {
        **{name: value for name, value in kwargs.items() if value != "{}"},
        **{name: named[name] for name in named if name not in _IN_WORDS},
    }


def describe_former(cells: Sequence[CellReport]) -> str | None:
    """Describe how the tokens compare with goldens of other definitions of their cells.

    None when there is no such golden.
    """
    verdicts = [cell.verdict for cell in cells]
    former = [each.former for each in verdicts if isinstance(each, Unrecorded) and each.former]
    parted = [each.divergence for each in former if each.divergence is not None]
    if not former:
        return None
    if not parted:
        return "identical to the golden up to the shorter length, despite the new definition"
    order = tuple(Place)
    place = format_place(min(parted, key=lambda each: (order.index(each.place), each.position)))
    if len(former) == 1:
        return f"diverge from the golden at {place}"
    return f"{len(parted)} of {len(former)} cells diverge from their golden, first at {place}"


def describe_run(verdict: Nondeterministic) -> str:
    """Name the run that differs."""
    if verdict.in_fresh_client:
        return f"run {verdict.run}, in a fresh client of the same server,"
    return f"run {verdict.run}{', in a fresh process,' if verdict.in_fresh_process else ''}"


def _with_unfinished(description: Description, cell: CellReport) -> Description:
    """Add why a cell was run less often than planned."""
    if cell.unfinished is None:
        return description
    before = "" if description.reason is None else f"{description.reason}; "
    reason = f"{before}the remaining runs were not made: {cell.unfinished.reason}"
    remedy = cell.unfinished.remedy
    return replace(
        description,
        reason=escape.message(reason),
        remedy=None if remedy is None else escape.message(remedy),
    )


def _unshown(factor: Factor) -> str:
    match factor:
        case Factor.SEED:
            return "no other seed changes the output of this model, not even at a high temperature"
        case Factor.PROMPT:
            return "no other prompt changes the output of this model"
        case _:
            assert_never(factor)


def _matching(cell: CellReport) -> str:
    has_logits = cell.generation is not None and cell.generation.logits
    added = ", to the bit of every logit" if has_logits else ""
    if cell.runs == 1:
        return f"1 run matches the golden{added}"
    return f"{cell.runs} identical runs match the golden{added}"


def _differing(verdict: Nondeterministic) -> str:
    place = f"{format_place(verdict.divergence)}{_tokens_equal(verdict.divergence)}"
    return f"{describe_run(verdict)} differs from run 1 at {place}"


def _tokens_equal(divergence: Divergence) -> str:
    return "; all tokens are equal" if divergence.place is Place.LOGITS else ""


def _sharing(verdict: Nondeterministic) -> str | None:
    """Describe which of the two runs had neighbours; None when neither had."""
    match verdict.first_had_neighbours, verdict.had_neighbours:
        case True, True:
            return f"run {verdict.run} and run 1 both shared the engine with other runs"
        case True, False:
            alone, shared = verdict.run, 1
        case False, True:
            alone, shared = 1, verdict.run
        case _:
            return None
    return f"run {alone} had the engine to itself, run {shared} shared it with other runs"


def _drifting(verdict: Drift, runs: int) -> str:
    divergence = verdict.divergence
    place = f"from the golden at {format_place(divergence)}{_tokens_equal(divergence)}"
    if divergence.place is Place.TEMPLATE:
        return f"the chat is rendered as another prompt, which diverges {place}"
    if runs == 1:
        return f"1 run diverges {place}"
    return f"{runs} identical runs, but they diverge {place}"
