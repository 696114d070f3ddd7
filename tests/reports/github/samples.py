"""Checks as a reviewer meets them: what moved, what is fixed, and what went wrong."""

from collections.abc import Iterable
from dataclasses import replace

from repro_gate.core.comments import CiRun, CommentState, Marker, RunId
from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.core.report import CellReport, EngineReport, GateReport, UnfinishedCheck
from repro_gate.core.tokens.generation import Divergence
from repro_gate.core.tokens.golden import FactChange
from repro_gate.core.tokens.verdicts import Drift, Inconclusive, Match, Unrecorded
from tests.fakes.logprob_reports import (
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
    suite_test_of,
    token_of,
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
)

SHA = "8f3c2a91d04be7756a1c0f29e8d3b4a5c6d7e8f9"
RUN = CiRun(
    id=RunId(17204881234, 2),
    repository="octo-org/serving",
    head_sha=SHA,
    head_owner="octo-org",
    head_branch="faster-kernels",
    server_url="https://github.com",
    pull_request=42,
)
ARTIFACT = "https://github.com/octo-org/serving/actions/runs/17204881234/artifacts/1903"
MARKER = Marker(name="repro-gate", run=RUN.id, state=CommentState.FAILED, found=True)
_DRIVER = FactChange(name="device.driver", before="550.54.15", after="560.35.03")
_CUBLAS = FactChange(name="library.cublas", before="12.4.5.8", after="12.6.1.4")
_DIGEST = FactChange(name="model.sha256", before="5e8a1f" * 10 + "0c2d", after="c41b77" * 10 + "9a")
_PROFILE = "cuda-sm90-132sm"
_LEAVES = "Crimson leaves descend, whispering of warmer days; the old pond keeps still"


def drifted() -> GateReport:
    """Return a check on which a driver moved tokens, and a provider its model."""
    golden = generation_of(_LEAVES)
    observed = generation_of("Crimson leaves descend, drifting on the cold wind toward the")
    other = generation_of("Crimson leaves descend, slowly `now` <b>now</b> @octocat")
    moon, train = (cell_of(name, model="tiny-phi3") for name in ("moon-visit", "night-train"))
    changes = (_DRIVER, _CUBLAS)
    cells = [
        drift_of(golden, observed, cell_of(seed=123), *changes),
        drift_of(golden, observed, cell_of(seed=999), *changes),
        drift_of(golden, other, moon, *changes),
        differing_run_of(train, golden, observed),
        cell_report_of(Unrecorded(reason="there is no golden for this profile"), cell_of("new")),
        cell_report_of(Match()),
        *(cell_report_of(Match(), cell_of(f"p{number}")) for number in range(20)),
        cell_report_of(
            Inconclusive(reason="the engine died: signal 9", remedy="free some memory"),
            cell_of("ocean-waves"),
            runs=0,
            generation=None,
        ),
    ]
    return gate_report_of(
        *(measured_on(_PROFILE, cell) for cell in cells),
        orphan_of("tiny-qwen2--gone--seed1"),
        suites=("embedded", "hosted"),
        controls=(control_of(moon, divergence=_parted(cells[0])),),
        engines=(
            EngineReport(
                name="exact", profile=_PROFILE, facts={"device.name": "H200", **_facts(changes)}
            ),
        ),
        models={"tiny-qwen2": {"model.sha256": "ab" * 32, "n_ctx": "256"}},
        repeat_with=("--device", "cuda"),
        logprobs=(_hosted(),),
    )


def measured_on(profile: str, cell: CellReport) -> CellReport:
    """Return a cell that was measured on another profile, as its golden was."""
    verdict = cell.verdict
    if isinstance(verdict, Drift):
        verdict = replace(verdict, golden=replace(verdict.golden, profile=profile))
    return replace(cell, verdict=verdict, profile=profile)


def many() -> GateReport:
    """Return a check on which a driver moved 400 cells, each in its own way."""
    golden = generation_of(_LEAVES)
    return gate_report_of(
        *(
            drift_of(golden, generation_of(f"Crimson leaves x{seed}"), cell_of(seed=seed), _DRIVER)
            for seed in range(1, 401)
        ),
        repeat_with=("--device", "cuda"),
    )


def fixed() -> GateReport:
    """Return a check that agrees."""
    return gate_report_of(
        *(cell_report_of(Match(), cell_of(f"p{number}")) for number in range(24)),
        controls=drifted().controls,
        logprobs=(
            logprob_report_of(
                *(
                    logprob_cell_report_of(
                        Agrees(equivalence=Equivalence.IDENTICAL), logprob_cell_of(f"i{number}")
                    )
                    for number in range(12)
                )
            ),
        ),
    )


def _hosted() -> LogprobReport:
    moved = effect_of(
        token_of(3), token_of(7, data=b" the", shift=-0.31), token_of(0, data=b"It", shift=0.25)
    )
    agrees = Agrees(equivalence=Equivalence.IDENTICAL)
    steady = (logprob_cell_report_of(agrees, logprob_cell_of(f"i{number}")) for number in range(10))
    return logprob_report_of(
        logprob_cell_report_of(
            Shifted(effect=moved, provenance=(_DIGEST,)),
            logprob_cell_of("plane"),
            totals=(-43.25, -43.25, -43.25, -43.5, -43.25),
        ),
        *steady,
        suite_test=suite_test_of(
            SuiteVerdict.DRIFT, p_value=0.000015, typical_shift=0.9, second_look=True
        ),
    )


def _parted(cell: CellReport) -> Divergence | None:
    verdict = cell.verdict
    return verdict.divergence if isinstance(verdict, Drift) else None


def _facts(changes: Iterable[FactChange]) -> dict[str, str]:
    return {change.name: change.after or "" for change in changes}


def unmeasured() -> GateReport:
    """Return a check that found nothing, because it could not measure everything."""
    lost = Inconclusive(reason="the engine died: signal 9", remedy="free some memory")
    return gate_report_of(
        cell_report_of(Match()),
        *(
            cell_report_of(lost, cell_of(f"p{number}"), runs=0, generation=None)
            for number in range(8)
        ),
    )


INVALID = UnfinishedCheck(
    exit_code=3,
    message="repro-gate.toml: suites.embedded.seeds[2]: expected a seed of at least 1, found 0",
    remedy="correct the seed",
)
