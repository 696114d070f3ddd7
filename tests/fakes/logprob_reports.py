"""Reports on log-probabilities: one of everything, and one in which every word is hostile."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.logprobs.policy import (
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
    Tolerance,
)
from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobControl,
    LogprobReport,
    OutlierDraw,
    PolicyNoise,
    Spending,
    SuiteTest,
    SuiteVerdict,
    WeightReport,
)
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Deciding,
    Effect,
    Equivalence,
    Evidence,
    Invalid,
    LogprobVerdict,
    Outlying,
    Shifted,
    TokenShift,
)
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Inconclusive, Orphan, Unrecorded

OUTLYING = Outlying(count=6, draws=75, most=5, allowed=0.05)
CALIBRATION = (-42.0, -42.0, -42.0, -42.0, -42.5, -41.5, -42.0, -42.0, -42.0, -42.0)


def logprob_cell_of(item: str = "capital", *, policy: str = "base", text: str = "x") -> LogprobCell:
    """Return an item under a policy; whatever the matrix says of them is `text`."""
    provider = ProviderSpec(name="fireworks", kind=ProviderKind.FIREWORKS)
    return LogprobCell(
        policy=Policy(
            name=policy,
            provider=provider,
            model=text,
            system=text,
            template=text,
            temperature=0.7,
            logprobs=LogprobKind.RAW,
        ),
        item=Item(name=item, prompt=text, response=text or "x"),
    )


def logprob_cell_report_of(
    verdict: LogprobVerdict, cell: LogprobCell | None = None, **changes: Any
) -> LogprobCellReport:
    """Return what is known of a cell of which five draws were made."""
    cell = cell or logprob_cell_of()
    report = LogprobCellReport(
        cell=cell,
        verdict=verdict,
        source="fireworks",
        center=-42.0,
        band=0.5,
        calibration=CALIBRATION,
        totals=(-42.0, -42.0, -42.0, -42.25, -42.0),
    )
    return replace(report, **changes)


def unmeasured_of(verdict: LogprobVerdict, cell: LogprobCell, **changes: Any) -> LogprobCellReport:
    """Return what is known of a cell of which nothing was drawn, for want of a baseline."""
    return logprob_cell_report_of(
        verdict, cell, **{"center": None, "band": None, "calibration": (), "totals": (), **changes}
    )


def orphaned_baseline_of(baseline_id: str) -> Orphan:
    """Return a baseline that no cell uses."""
    return Orphan(id=baseline_id, origin="fireworks")


def token_of(position: int = 3, *, data: bytes = b" Paris", shift: float = -1.25) -> TokenShift:
    """Return how far one token has moved."""
    return TokenShift(
        position=position, piece=Piece(40 + position, data), expected=-0.5, observed=-0.5 + shift
    )


def deciding_of(token: TokenShift | None = None, **changes: Any) -> Deciding:
    """Return the quantity that decided: the sum, or a token."""
    center = -42.0 if token is None else token.expected
    shift = -1.25 if token is None else token.shift
    deciding = Deciding(
        token=token,
        shift=shift,
        band=0.5 if token is None else 0.1,
        calibration=(center,) * 10,
        draws=(center + shift,) * 10,
    )
    return replace(deciding, **changes)


def effect_of(*tokens: TokenShift, **changes: Any) -> Effect:
    """Return a shift that shows in the sum, unless another quantity is said to have decided."""
    usual: dict[str, Any] = {"shift": -1.25, "band": 0.5}
    moved = {name: changes.get(name, value) for name, value in usual.items()}
    effect = Effect(
        evidence=Evidence.SUM,
        p_value=0.00021,
        deciding=deciding_of(**moved),
        tokens=tokens or (token_of(),),
        **moved,
    )
    return replace(effect, **changes)


def outlier_of(request_id: str = "req-7", *, data: bytes = b" Paris") -> OutlierDraw:
    """Return the outlier of the finding that the project grew from."""
    return OutlierDraw(
        total=-156.5,
        center=-42.0,
        bound=3.0,
        tokens=(token_of(data=data, shift=-114.0),),
        request_id=request_id,
    )


def suite_test_of(verdict: SuiteVerdict = SuiteVerdict.AGREES, **changes: Any) -> SuiteTest:
    """Return a test over all cells that found nothing."""
    test = SuiteTest(
        verdict=verdict,
        cells=12,
        left_out=0,
        p_value=0.41,
        evidence=Evidence.EXACT_REPEATS,
        typical_shift=0.0,
        second_look=False,
        mean_shift=0.0021,
        mean_shift_bound=0.0312,
        equivalence=Equivalence.EQUIVALENT,
    )
    return replace(test, **changes)


def policy_noise_of(policy: str = "base", **changes: Any) -> PolicyNoise:
    """Return how the draws of a policy vary."""
    noise = PolicyNoise(
        policy=policy,
        model="accounts/fireworks/models/m",
        temperature=0.7,
        logprobs=LogprobKind.RAW,
        cells=1,
        calibration_variance=0.05,
        variance=0.0125,
        atom=0.8,
        draws=5,
        outliers=0,
    )
    return replace(noise, **changes)


def weight_report_of(*problems: str, **changes: Any) -> WeightReport:
    """Return the weights of an A/A control, as a public sample has them."""
    report = WeightReport(
        base="base",
        target="clone",
        is_control=True,
        must_be_usable=False,
        items=1000,
        mean_log_ratio=-0.0123,
        effective_size=215.0,
        largest_share=0.043,
        mean_weight=1.282,
        mean_p=1.0,
        khat=0.49,
        khat_bar=2 / 3,
        control_p=0.3,
        problems=problems,
    )
    return replace(report, **changes)


def logprob_report_of(*found: LogprobCellReport | Orphan, **changes: Any) -> LogprobReport:
    """Return the report on a suite of some cells, and of orphans."""
    report = LogprobReport(
        suite="hosted",
        tolerance=Tolerance(),
        cells=tuple(each for each in found if isinstance(each, LogprobCellReport)),
        orphans=tuple(each for each in found if isinstance(each, Orphan)),
        suite_test=suite_test_of(),
        policies=(policy_noise_of(),),
        weights=(),
        controls=(LogprobControl(policy="base", cell="base--capital", differed=True),),
        spending=Spending(calls=24, saved=36, reused=4, tokens=1200, usd=0.00108),
    )
    return replace(report, **changes)


def rich_logprobs_of() -> LogprobReport:
    """Return a suite with every verdict, and with everything that can be wrong beyond the cells."""
    changed = effect_of(evidence=Evidence.EXACT_REPEATS, shift=0.0123, p_value=0.0004)
    no_key = Inconclusive(reason="FIREWORKS_API_KEY is not set", remedy="export FIREWORKS_API_KEY")
    cells = (
        logprob_cell_report_of(Agrees(equivalence=Equivalence.IDENTICAL)),
        logprob_cell_report_of(
            Agrees(equivalence=Equivalence.NOT_SHOWN, changed=changed),
            logprob_cell_of("moon"),
            outliers=(outlier_of(""),),
        ),
        logprob_cell_report_of(
            Shifted(
                effect=effect_of(token_of(3), token_of(0, data=b"It\x1b", shift=0.25)),
                provenance=(FactChange(name="answer.model", before="m-1", after="m-2 | @team"),),
            ),
            logprob_cell_of("plane"),
            totals=(-43.25, -43.25, -43.25, -43.5, -43.25),
        ),
        logprob_cell_report_of(
            Shifted(
                effect=effect_of(
                    evidence=Evidence.TOKENS, shift=0.0, deciding=deciding_of(token_of())
                ),
                provenance=(),
            ),
            logprob_cell_of("river"),
        ),
        logprob_cell_report_of(OUTLYING, logprob_cell_of("train"), outliers=(outlier_of(),)),
        unmeasured_of(
            Invalid(reason='the answer is about 7 "<b>"', position=2, count=3),
            logprob_cell_of("haiku"),
        ),
        unmeasured_of(Unrecorded(reason="there is no baseline"), logprob_cell_of("new-1")),
        unmeasured_of(Unrecorded(reason="there is no baseline"), logprob_cell_of("new-2")),
        unmeasured_of(no_key, logprob_cell_of("capital", policy="clone"), source=None),
        orphaned_baseline_of("base--gone"),
    )
    return logprob_report_of(
        *cells,
        suite_test=suite_test_of(
            SuiteVerdict.DRIFT,
            p_value=0.000015,
            evidence=Evidence.SUM,
            typical_shift=0.9,
            second_look=True,
            mean_shift=-0.8,
            mean_shift_bound=1.1,
            equivalence=Equivalence.NOT_SHOWN,
        ),
        policies=(
            policy_noise_of(cells=8, draws=40, outliers=2),
            policy_noise_of("clone", temperature=0.0, cells=1, draws=0, atom=0.0),
        ),
        weights=(
            weight_report_of("the A/A control is not centred on 0"),
            weight_report_of(
                "the effective sample size is only 1.0 of 9 items",
                "one item has 99% of the whole weight",
                target="unhelpful",
                is_control=False,
                items=9,
                mean_log_ratio=-65.0,
                effective_size=1.0,
                largest_share=0.99,
                mean_weight=3.2e50,
                khat=None,
                khat_bar=None,
                control_p=None,
            ),
            weight_report_of(
                target="twin",
                is_control=False,
                must_be_usable=True,
                items=9,
                control_p=None,
                doubts=("9 items are too few, at least 51 are needed",),
            ),
            weight_report_of(target="parallel", is_control=False, control_p=None),
        ),
        controls=(
            LogprobControl(policy="base", cell="base--capital", differed=True),
            LogprobControl(policy="clone", cell="clone--capital", differed=False),
        ),
    )


def hostile_logprobs_of(text: str) -> LogprobReport:
    """Return a suite in which everything that is not ours to choose is `text`."""
    data = text.encode("utf-8", errors="surrogatepass")
    token = token_of(data=data)
    # A reason is never empty.
    reason = text or "x"
    change = FactChange(name=text, before=text, after=f"{text}!")
    items: Mapping[str, LogprobVerdict] = {
        "shifted": Shifted(
            effect=effect_of(token, deciding=deciding_of(token)), provenance=(change,)
        ),
        "changed": Agrees(equivalence=Equivalence.NOT_SHOWN, changed=effect_of(token)),
        "outlying": OUTLYING,
        "invalid": Invalid(reason=reason, position=2, count=3),
        "unrecorded": Unrecorded(reason=reason),
        "inconclusive": Inconclusive(reason=reason, remedy=text),
    }
    cells = [
        logprob_cell_report_of(
            verdict,
            logprob_cell_of(item, text=text),
            source=text,
            outliers=(outlier_of(text, data=data),),
        )
        for item, verdict in items.items()
    ]
    return logprob_report_of(
        *cells,
        orphaned_baseline_of(text),
        suite=text,
        policies=(policy_noise_of(model=text),),
        weights=(weight_report_of(text), weight_report_of(text, target="other", is_control=False)),
        controls=(LogprobControl(policy="base", cell=text, differed=False),),
    )


LOGPROB_VERDICTS: Mapping[str, LogprobCellReport] = {
    found.verdict.word: found for found in reversed(rich_logprobs_of().cells)
}
"""A cell of each verdict."""
