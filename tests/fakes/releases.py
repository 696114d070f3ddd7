"""A release that a policy accepts: its commit, reports, statement and waivers."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from repro_gate.core.logprobs.baseline import Baseline, fit_noise
from repro_gate.core.logprobs.draw import DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.logprobs.report import LogprobReport
from repro_gate.core.logprobs.verdicts import Agrees, Equivalence, Shifted
from repro_gate.core.report import CellReport, GateReport
from repro_gate.core.sign_off.measured import Checkout, ReportFile, named_tests
from repro_gate.core.sign_off.policy import Policy, Signers, TrustedKey
from repro_gate.core.sign_off.statement import Entry, Kind, Result, Statement, Waiver
from repro_gate.core.sign_off.verification import Evidence, WaiverFile
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.generation import Generation, first_divergence
from repro_gate.core.tokens.verdicts import Drift, Match
from tests.fakes.logprob_reports import (
    CALIBRATION,
    effect_of,
    logprob_cell_of,
    logprob_cell_report_of,
    logprob_report_of,
)
from tests.fakes.reports import ENGINES, TIMING, diverging
from tests.fakes.signing import key_of
from tests.fakes.values import (
    PROFILE,
    answer_to,
    cell_of,
    control_of,
    digest_of,
    generation_of,
    golden_of,
    matrix_of,
    model_spec_of,
    provenance_of,
    suite_of,
)

COMMIT = "c0" * 20
REPOSITORY = "git+https://github.com/acme/model"
NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
MEASURED = NOW - timedelta(days=2)
SIGNED = NOW - timedelta(days=1)
SHA = "5a" * 32
ARTIFACTS = {"model.gguf": SHA}
HAIKU, FOX = cell_of("haiku"), cell_of("fox")
CAPITAL = logprob_cell_of()
FOX_TEST = f"quick/{FOX.id}/{PROFILE}"
HAIKU_TEST = f"quick/{HAIKU.id}/{PROFILE}"
CAPITAL_TEST = f"hosted/{CAPITAL.id}/fireworks"
OTHER_OUTPUT = generation_of(1, 2, 3, prompt=(3, 3))


def signers_of(*names: str, threshold: int = 1) -> Signers:
    """Return the keys of these people."""
    keys = tuple(TrustedKey(name=name, key=key_of(name).public.raw) for name in names)
    return Signers(keys=keys, threshold=threshold)


def policy_of(**changes: Any) -> Policy:
    """Return the policy of a recipient who trusts alice and bob, and no waivers."""
    policy = Policy(
        repository=REPOSITORY,
        signers=signers_of("alice", "bob", threshold=2),
        suites=("quick", "hosted"),
        profiles=(PROFILE,),
        artifacts=("*.gguf",),
        minimum_tests=3,
        max_age=timedelta(days=14),
    )
    return replace(policy, **changes)


def baseline_of(**changes: Any) -> Baseline:
    """Return the baseline of the only cell of log-probabilities."""
    draws = tuple((total,) for total in CALIBRATION)
    facts = DrawFacts(
        at="2026-11-01T00:00:00+00:00",
        model="m",
        request_id="",
        latency_s=0.1,
        attempts=1,
        headers=None,
    )
    baseline = Baseline(
        id=CAPITAL.id,
        source="fireworks",
        definition=CAPITAL.definition,
        encoding=Encoding(prompt=(), response=(Piece(1, b"x"),)),
        draws=draws,
        facts=(facts,) * len(draws),
        noise=fit_noise(draws),
        answered_as="m",
        provenance={},
        recorded_at="2026-11-01T00:00:00+00:00",
    )
    return replace(baseline, **changes)


def checkout_of(**changes: Any) -> Checkout:
    """Return a commit with one suite of tokens and one of log-probabilities."""
    matrix = replace(
        matrix_of(suite_of(HAIKU, FOX)),
        models={"tiny": model_spec_of("tiny", sha256=digest_of("tiny"))},
        logprob_suites={"hosted": LogprobSuite(name="hosted", cells=(CAPITAL,))},
    )
    checkout = Checkout(
        commit=COMMIT,
        matrix=matrix,
        entries=(
            Entry(kind=Kind.MATRIX, name="repro-gate.toml", digest={"sha256": "a1" * 32}),
            Entry(
                kind=Kind.GOLDENS,
                name="snapshots/goldens",
                digest={"sha256": "a2" * 32, "gitTree": "a3" * 20},
                annotations={"files": 2},
            ),
        ),
        goldens={(PROFILE, cell.id): golden_of(cell) for cell in (HAIKU, FOX)},
        baselines={("fireworks", CAPITAL.id): baseline_of()},
        pins={},
    )
    return replace(checkout, **changes)


def matched(cell: Cell, **changes: Any) -> CellReport:
    """Return a cell whose three runs equal the golden."""
    report = CellReport(
        suite="quick",
        cell=cell,
        verdict=Match(),
        runs=3,
        generation=answer_to(cell),
        profile=PROFILE,
        provenance=0,
    )
    return replace(report, **changes)


def drifted(cell: Cell, observed: Generation = OTHER_OUTPUT) -> CellReport:
    """Return a cell whose three runs differ from the golden."""
    golden = golden_of(cell)
    divergence = first_divergence(golden.generation, observed)
    assert divergence is not None
    verdict = Drift(divergence=divergence, golden=golden, provenance=())
    return matched(cell, verdict=verdict, generation=observed)


def drawn(**changes: Any) -> LogprobReport:
    """Return the report on log-probabilities."""
    return logprob_report_of(
        logprob_cell_report_of(Agrees(equivalence=Equivalence.IDENTICAL), **changes)
    )


def shifted() -> LogprobReport:
    """Return one with drift."""
    verdict = Shifted(effect=effect_of(), provenance=())
    return logprob_report_of(logprob_cell_report_of(verdict))


def report_of(*cells: CellReport, **changes: Any) -> GateReport:
    """Return the report of a check that passed, unless these cells did not."""
    report = GateReport(
        tool_version="0.1.0",
        started_at=MEASURED.isoformat(),
        suites=("quick", "hosted"),
        cells=cells or (matched(HAIKU), matched(FOX)),
        controls=tuple(control_of(HAIKU, factor=one, divergence=diverging()) for one in Factor),
        engines=ENGINES,
        models={"tiny": {"model.sha256": digest_of("tiny")}},
        timing=TIMING,
        interrupted=False,
        logprobs=(drawn(),),
        provenances=(provenance_of("tiny"),),
        commit=COMMIT,
    )
    return replace(report, **changes)


def file_of(
    report: GateReport, *, name: str = "report.json", sha256: str = "b1" * 32
) -> ReportFile:
    """Return a report.json."""
    return ReportFile(name=name, sha256=sha256, report=report)


def finding_in(report: GateReport, test: str) -> str:
    """Return the digest of the drift of a test."""
    (found,) = {
        one.finding for one in named_tests(report, checkout_of().matrix) if one.name == test
    }
    assert found is not None
    return found


def waiver_of(report: GateReport, test: str = FOX_TEST, **changes: Any) -> Waiver:
    """Return the waiver of a drift."""
    waiver = Waiver(
        repository=REPOSITORY,
        commit=COMMIT,
        id="w-1",
        test=test,
        finding=finding_in(report, test),
        reason="a tokenizer fix",
        not_before=SIGNED - timedelta(hours=1),
        not_after=SIGNED + timedelta(days=14),
    )
    return replace(waiver, **changes)


def waiver_file_of(waiver: Any, *signers: str, name: str = "waivers/w-1.dsse.json") -> WaiverFile:
    """Return a signed waiver."""
    return WaiverFile(name=name, sha256=SHA, signers=frozenset(signers), waiver=waiver)


def evidence_of(
    *reports: ReportFile,
    waivers: Iterable[WaiverFile] = (),
    checkout: Checkout | None = None,
    **changes: Any,
) -> Evidence:
    """Return evidence as the signer makes it; changes are of its statement."""
    files = reports or (file_of(report_of()),)
    checkout = checkout or checkout_of()
    tests = [test for file in files for test in named_tests(file.report, checkout.matrix)]
    waived = {one.waiver.test for one in waivers if isinstance(one.waiver, Waiver)}
    statement = Statement(
        repository=REPOSITORY,
        commit=COMMIT,
        artifacts=ARTIFACTS,
        result=Result.WARNED if waived else Result.PASSED,
        configuration=(
            *checkout.entries,
            *(file.entry(signed_at=SIGNED) for file in files),
            *(
                Entry(kind=Kind.WAIVER, name=one.name, digest={"sha256": one.sha256})
                for one in waivers
            ),
        ),
        passed=tuple(dict.fromkeys(one.name for one in tests if one.name not in waived)),
        warned=tuple(sorted(waived)),
    )
    return Evidence(statement=replace(statement, **changes), reports=files, waivers=tuple(waivers))
