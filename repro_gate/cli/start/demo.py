"""`repro-gate demo`: shows every verdict, with what led to it, what it means and what to do."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, open_session
from repro_gate.cli.start.running import EndedCommand, run_gates, write_matrix
from repro_gate.cli.start.scenarios import (
    SMOLLM2,
    TINY,
    WITHOUT_LLAMA_CPP,
    Model,
    Scenario,
    gates_of,
    model_of_file,
)
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import GateReport
from repro_gate.errors import UsageInvalid
from repro_gate.reports.findings.logprob_wording import describe_logprobs
from repro_gate.reports.findings.logprobs import logprob_findings
from repro_gate.reports.findings.tokens import token_findings
from repro_gate.reports.findings.wording import Description, describe
from repro_gate.reports.text.escape import Line, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of `demo`."""

    keep: Path | None = None
    model: Path | None = None
    fetch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a report has on a cell, a golden or a baseline."""

    word: str
    description: Description
    details: tuple[Line, ...] = ()


def run_demo(options: DemoOptions) -> ExitCode:
    """Show every verdict, and return 0 if each check gave those that are expected."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = _folder(options, stack)
        model = choose_model(folder, options)
        print_line(f"Every verdict, each from a real check of a copy in {folder}")
        print_line(f"tokens are of {model.title}")
        if model is TINY:
            print_line("for English in place of noise (fetches 98 MB): repro-gate demo --fetch")
        wrong = sum(chain.from_iterable(map(show, run_gates(folder, model))))
    total = sum(len(stage.scenarios) for gate in gates_of(model) for stage in gate.stages)
    print_line("")
    seconds = time.monotonic() - started
    print_line(f"{total - wrong} of {total} verdicts are the expected ones; {seconds:.1f} s")
    if options.keep is not None:
        print_line(f"kept in {options.keep}: each folder there has its report.html")
    print_line("next: repro-gate init, in the repository of the model that you serve")
    return ExitCode.FINDINGS if wrong else ExitCode.PASSED


def choose_model(folder: Path, options: DemoOptions) -> Model:
    """Return the model whose tokens are shown: that of the user, SmolLM2 if present, or a tiny one.

    Raises:
        MeasurementUnavailable: SmolLM2 cannot be fetched.
        UsageInvalid: there is no file of the given model.
    """
    if options.model is not None and not options.model.is_file():
        raise UsageInvalid(f"--model: {options.model} is no file")
    if find_spec("llama_cpp") is None:
        return WITHOUT_LLAMA_CPP
    if options.model is not None:
        return model_of_file(options.model)
    place = folder / "smollm2"
    session = open_session(Selection(config=write_matrix(place, gates_of(SMOLLM2)[0], SMOLLM2)))
    models, (spec,) = wiring.workspace_for(session).models, session.models(["model"])
    shutil.rmtree(place)
    if options.fetch:
        print_line("fetching SmolLM2 (98 MB), unless it is there already")
        models.fetch(spec)
    return SMOLLM2 if models.absence_of(spec) is None else TINY


def _folder(options: DemoOptions, stack: ExitStack) -> Path:
    keep = options.keep
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="repro-gate-demo-")))
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UsageInvalid(f"--keep: {keep} is there already, and is no empty folder")
    return keep


def show(step: EndedCommand) -> Iterator[bool]:
    """Print what a check has shown, and yield for each verdict whether it is a wrong one."""
    if step.stage is None:
        return
    command = " ".join(["repro-gate check", *step.stage.options])
    print_line("")
    print_line(f"{step.gate.name}, {step.stage.name}: {command} exits with {step.code}")
    for scenario in step.stage.scenarios:
        found = _found(scenario, step.report)
        is_wrong = found is None or found.word != scenario.word
        print_line("")
        print_line(f"{scenario.word if found is None else found.word}  {scenario.id}")
        for label, text in _lines(scenario, found, step):
            print_line(f"  {label:<18} {text}")
        yield is_wrong


def _lines(scenario: Scenario, found: _Found | None, step: EndedCommand) -> Iterator[Line]:
    yield "set up", one_line(str(scenario.change or "nothing is changed"))
    if found is None or found.word != scenario.word:
        yield "expected", one_line(f"{scenario.word}; the check ended with: {step.output}")
    if found is None:
        return
    yield "found", one_line(found.description.claim)
    yield from (line for line in found.details if line[0] in scenario.shows)
    if found.word == scenario.word:
        yield "meaning", one_line(scenario.meaning)
    yield "what to do", one_line(found.description.advice)
    yield "exit code", one_line(str(step.code))


def _found(scenario: Scenario, report: GateReport | None) -> _Found | None:
    """Return what a report has on the cell of an scenario; None if it has nothing."""
    if report is None:
        return None
    parts = (logprob_findings(part, report) for part in report.logprobs)
    for finding in chain(token_findings(report), *parts):
        if scenario.id in finding.ids:
            details = tuple(finding.details)
            return _Found(word=finding.word, description=finding.description, details=details)
    for cell in report.cells:
        if cell.id == scenario.id:
            return _Found(word=cell.verdict.word, description=describe(cell))
    for drawn in chain.from_iterable(part.cells for part in report.logprobs):
        if drawn.id == scenario.id:
            return _Found(word=drawn.verdict.word, description=describe_logprobs(drawn))
    return None
