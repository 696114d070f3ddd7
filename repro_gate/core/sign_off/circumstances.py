"""What a report was measured with: matrix file, settings, snapshots and controls of the commit.

A check knows all this, and a report that was made by hand, or with another matrix file of the same
commit, may have it otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from repro_gate.core.logprobs.baseline import Baseline
from repro_gate.core.logprobs.policy import LogprobSuite
from repro_gate.core.logprobs.report import LogprobCellReport, LogprobReport
from repro_gate.core.matrix import DEFAULT_MATRIX_FILE
from repro_gate.core.outcome import Outcome, outcome_of_verdict
from repro_gate.core.sign_off.measured import (
    Checkout,
    Condition,
    Refusal,
    ReportFile,
    profiles_of,
)
from repro_gate.core.sign_off.policy import listed
from repro_gate.core.sign_off.statement import Kind
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import MODEL_SHA256
from repro_gate.settings import FACTS, FOR_GPUS, facts_of

_CONFIG: Final = "--config"
_CPU_DEVICE: Final = "CPU"
"""The fact `setting.device` of a run without a GPU."""
_GPU_DEFAULTS: Final = {"offload_kqv": "true", "op_offload": "true"}
"""Those that facts show on every GPU; the others change the profile."""


def circumstances_of(file: ReportFile, checkout: Checkout) -> Iterator[Refusal]:
    """Yield everything that a report was measured with and the commit does not have."""
    yield from _matrix_file(file, checkout)
    yield from _settings(file, checkout)
    yield from _loaded_models(file, checkout)
    yield from _orphans(file, checkout)
    for part in file.report.logprobs:
        suite = checkout.matrix.logprob_suites.get(part.suite)
        if suite is not None:
            yield from _controls(file, part)
            yield from _weights(file, part, suite)
            for drawn in part.cells:
                baseline = checkout.baselines.get((str(drawn.source), drawn.id))
                if baseline and outcome_of_verdict(drawn.verdict) is Outcome.PASSED:
                    yield from _draws(file, part, drawn, baseline)


def _other(file: ReportFile, about: str, expected: str, found: str) -> Refusal:
    return Refusal(
        condition=Condition.REPORT,
        about=f"{file.name}: {about}",
        expected=expected,
        found=found,
        remedy="check the commit again, with its own matrix file and all of its snapshots",
    )


def _matrix_file(file: ReportFile, checkout: Checkout) -> Iterator[Refusal]:
    """Yield another matrix file of the repository, which may plan the same cells."""
    options = (*file.report.repeat_with, _CONFIG, str(DEFAULT_MATRIX_FILE))
    given = options[options.index(_CONFIG) + 1]
    (committed,) = (entry.name for entry in checkout.entries if entry.kind is Kind.MATRIX)
    mine, theirs = _steps(committed), _steps(given)
    # The path of the check begins in any folder, such as that of the matrix or the root of a disk.
    common = min(len(mine), len(theirs))
    if not common or mine[-common:] != theirs[-common:]:
        yield _other(file, "matrix file", committed, escape_text(given))


def _steps(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(path).parts if part not in {"/", ".."})


def _settings(file: ReportFile, checkout: Checkout) -> Iterator[Refusal]:
    """Yield settings of built-in engines that are not those of the matrix."""
    report = file.report
    used = {(cell.cell.model, cell.provenance) for cell in report.cells}
    for name, index in sorted((name, index) for name, index in used if index is not None):
        model = checkout.matrix.models.get(name)
        if model is None or not model.engine.kind.is_llama_cpp:
            continue
        facts = report.provenances[index]
        for setting, expected, found in _other_settings(model.engine.settings, facts):
            about, shown = f"{name}: {setting}", escape_text(found)
            yield _other(file, about, f"{expected}, as in the matrix", shown)


def _other_settings(
    settings: Mapping[str, object], facts: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield each setting whose fact differs, with what was wanted and what was found."""
    wanted = facts_of(settings)
    if facts.get("setting.device", _CPU_DEVICE) != _CPU_DEVICE:
        wanted = {**_GPU_DEFAULTS, **wanted}
    # Those for GPUs depend on the device too.
    ours = [name for name in FACTS if name in wanted or name not in FOR_GPUS]
    for name in ours:
        expected = wanted.get(name, "none")
        # Reports of earlier versions lack some facts.
        if facts.get(f"setting.{name}", expected) != expected:
            yield name, expected, facts[f"setting.{name}"]


def _loaded_models(file: ReportFile, checkout: Checkout) -> Iterator[Refusal]:
    """Yield digests of the list of models, which the statement repeats, that are not pinned."""
    for name, facts in file.report.models.items():
        model = checkout.matrix.models.get(name)
        if model is None:
            shown = escape_text(facts.get(MODEL_SHA256, "none"))
            yield _other(file, f"the model {escape_text(name)}", "no such model", shown)
            continue
        for spec in model.files:
            pin, found = checkout.pin_of(spec), facts.get(spec.sha256_fact)
            # One that is not pinned is refused wherever it was used.
            if pin is not None and found != pin:
                yield _other(file, f"the model {spec.key}", pin, escape_text(found or "none"))


def _orphans(file: ReportFile, checkout: Checkout) -> Iterator[Refusal]:
    """Yield committed snapshots that no cell of the matrix uses, if the report does not."""
    matrix, report = checkout.matrix, file.report
    tokens = {cell.id for suite in matrix.suites.values() for cell in suite.cells}
    drawn = {cell.id for suite in matrix.logprob_suites.values() for cell in suite.cells}
    places = profiles_of(report)
    known = {(one.origin, one.id) for one in report.orphans}
    known |= {(one.origin, one.id) for part in report.logprobs for one in part.orphans}
    if report.cells:
        yield from _unused(file, set(checkout.goldens) - known, places, tokens)
    if report.logprobs:
        yield from _unused(file, set(checkout.baselines) - known, places, drawn)


def _unused(
    file: ReportFile, snapshots: Iterable[tuple[str, str]], places: Iterable[str], used: set[str]
) -> Iterator[Refusal]:
    found = {f"{place}/{cell}" for place, cell in snapshots if place in places and cell not in used}
    if found:
        yield _other(file, "snapshots", "no snapshot that the matrix does not use", listed(found))


def _controls(file: ReportFile, part: LogprobReport) -> Iterator[Refusal]:
    """Yield policies of which no control shows that their check could have failed."""
    measured = {cell.cell.policy.name for cell in part.cells if cell.totals}
    missing = measured - {control.policy for control in part.controls}
    if missing:
        yield _other(file, part.suite, "a control of every policy", f"none of {listed(missing)}")


def _weights(file: ReportFile, part: LogprobReport, suite: LogprobSuite) -> Iterator[Refusal]:
    """Yield importance weights that the matrix plans and the report does not have."""
    plan = suite.weights
    if plan is None:
        return
    planned = {
        (plan.base, target, target in plan.clones, target in plan.must_be_usable)
        for target in (*plan.clones, *plan.must_be_usable)
    }
    found = {(one.base, one.target, one.is_control, one.must_be_usable) for one in part.weights}
    missing = {target for _, target, *_ in planned - found}
    if missing:
        yield _other(file, part.suite, "the weights of the matrix", f"none of {listed(missing)}")


def _draws(
    file: ReportFile, part: LogprobReport, drawn: LogprobCellReport, baseline: Baseline
) -> Iterator[Refusal]:
    """Yield a baseline or draws that cannot agree."""
    name = f"{part.suite}/{drawn.id}"
    if baseline.definition != drawn.cell.definition:
        yield _other(file, name, "a baseline of this definition", "one of another")
    if len(baseline.draws) < part.tolerance.calibration_draws:
        expected = f"a baseline of {part.tolerance.calibration_draws} draws"
        yield _other(file, name, expected, str(len(baseline.draws)))
    bound = baseline.noise.outlier_bound(part.tolerance.outlier_factor)
    center = baseline.noise.center
    if any(abs(total - center) > bound for total in drawn.totals):
        yield _other(file, name, f"draws within {bound:g} nats of {center:g}", "others")
