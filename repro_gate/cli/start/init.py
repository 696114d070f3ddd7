"""`repro-gate init`: from what a machine has to a matrix, a workflow and the next commands."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from repro_gate.adapters.matrix.prompts import read_beside
from repro_gate.adapters.matrix.reader import parse_matrix
from repro_gate.cli.start.choose import Chooser, SourceOptions, require_possible
from repro_gate.cli.start.writing import (
    NewFile,
    Project,
    ignore_file,
    require_no_matrix,
    write_files,
)
from repro_gate.cli.terminal.console import print_line, warn
from repro_gate.core.outcome import ExitCode
from repro_gate.core.start.machine import Found, GgufModel
from repro_gate.core.start.matrix import (
    FirstMatrix,
    Pin,
    matrix_of_built_in,
    matrix_of_file,
    matrix_of_hosted,
    matrix_of_server,
)
from repro_gate.core.start.prompts import QUESTIONS, ChatForm, messages_of
from repro_gate.core.start.sources import BuiltInModel, HostedModel, ServedModel, Source
from repro_gate.core.start.workflow import workflow_of
from repro_gate.core.text import escape_text
from repro_gate.errors import InputInvalid
from repro_gate.ports.start import Machine
from repro_gate.reports.start.found import format_size, format_source, render_found
from repro_gate.reports.start.matrix import render_matrix
from repro_gate.reports.start.next_steps import render_next
from repro_gate.reports.start.workflow import render_workflow
from repro_gate.reports.text.shell import quoted
from repro_gate.server_settings import Dialect

_LARGE: Final = 1 << 30
"""Bytes whose digest takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What `init` was asked for, and where."""

    asked: SourceOptions
    folder: Path
    """The absolute path of the working folder."""
    dry_run: bool = False
    ask: Callable[[str], str] | None = None


def run_init(options: InitOptions, machine: Machine) -> ExitCode:
    """Write the files of a first gate, and print what to do next.

    Raises:
        UsageInvalid: the command line is incomplete.
        InputInvalid: there is a matrix already, or a file cannot be one of it.
        MeasurementUnavailable: a server does not answer.
    """
    require_possible(options.asked)
    project = Project.of(options.folder)
    require_no_matrix(project)
    found = machine.look()
    print(render_found(found), end="", flush=True)
    chooser = Chooser(machine=machine, found=found, asked=options.asked, ask=options.ask)
    source = chooser.source()
    matrix = _Builder(machine=machine, found=found, project=project).matrix_of(source)
    files = list(_files(matrix, found, project))
    if options.dry_run:
        _print_files(project, files)
        return ExitCode.PASSED
    write_files(project, files)
    written = [quoted(project.shown(file.path)) for file in files]
    print(f"wrote {', '.join(written)}")
    if not any(file.path == project.workflow for file in files):
        print_line(f"left out {project.shown(project.workflow)}: it is there, or cannot be written")
    has_key = matrix.key is None or matrix.key in found.keys
    print(render_next(matrix, written, has_key=has_key), end="", flush=True)
    return ExitCode.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    """Makes the matrix of a source."""

    machine: Machine
    found: Found
    project: Project

    def matrix_of(self, source: Source) -> FirstMatrix:
        """Return the matrix."""
        match source:
            case GgufModel():
                return matrix_of_file(source, self._pin(source), self.found, self._chat(source))
            case BuiltInModel():
                return matrix_of_built_in(source)
            case ServedModel():
                return matrix_of_server(source, self.found, self._pin_of_server(source))
            case HostedModel():
                return matrix_of_hosted(source)
            case _:
                assert_never(source)

    def _pin(self, model: GgufModel) -> Pin:
        is_fetched = model.source is not None and model.place.is_own
        source = model.source if is_fetched and model.source else self.project.source(model.path)
        if not source.isprintable():
            expected = "a path that can be printed, as a matrix cannot hold another"
            found = "control characters, or bytes that are no UTF-8; rename the file or its folder"
            raise InputInvalid.at(escape_text(source), "", expected=expected, found=found)
        if model.size > _LARGE:
            warn(f"reads {format_size(model.size)} for the digest of {format_source(model)}")
        return Pin(source=source, sha256=self.machine.digest_of(model.path))

    def _pin_of_server(self, source: ServedModel) -> Pin | None:
        """Return the file of llama-server, if the gate can start it with the same file."""
        file = source.server.model_file
        is_ours = source.server.dialect is Dialect.LLAMA_SERVER and self.found.has_llama_server
        if file is None or not is_ours:
            return None
        try:
            return self._pin(self.machine.model_at(file))
        except InputInvalid:
            # It can be served, but not be named here.
            return None

    def _chat(self, model: GgufModel) -> ChatForm | None:
        if model.template is None:
            return None
        return self.machine.chat_of(model.template, messages_of(QUESTIONS["capital"]))


def _files(matrix: FirstMatrix, found: Found, project: Project) -> Iterator[NewFile]:
    """Yield the files to write, the matrix last; it has been read back by then."""
    workflow = workflow_of(matrix, found, project.below)
    if workflow is not None and not os.path.lexists(project.workflow):
        yield NewFile(path=project.workflow, content=render_workflow(workflow).encode())
    ignored = ignore_file(project)
    if ignored is not None:
        yield ignored
    content = render_matrix(matrix).encode()
    parse_matrix(content, project.matrix, read_beside(project.matrix))
    yield NewFile(path=project.matrix, content=content)


def _print_files(project: Project, files: list[NewFile]) -> None:
    for file in files:
        print_line("")
        print_line(f"--- {project.shown(file.path)} (dry run: not written)")
        print(file.content.decode(errors="replace"), end="", flush=True)
