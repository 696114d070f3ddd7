"""`repro-gate doctor` and `repro-gate models`: what is installed and which models are present."""

import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import repro_gate
from repro_gate.adapters.hosted.client import read_key
from repro_gate.adapters.models.files import absence_remedy, sha256_of
from repro_gate.adapters.models.hub import is_hub_installed
from repro_gate.cli import wiring
from repro_gate.cli.drift.stale import reference_lines
from repro_gate.cli.session import Session, describe_engine, engine_specs
from repro_gate.core.engines import EngineSpec, FileSpec, ModelSpec, another_file
from repro_gate.core.logprobs.policy import LogprobCell, ProviderSpec
from repro_gate.core.matrix import Suite
from repro_gate.core.outcome import ExitCode
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import MeasurementUnavailable
from repro_gate.protocol import CPU
from repro_gate.reports.text.escape import log_line, one_line

_PACKAGES = (
    "llama-cpp-python",
    "syrupy",
    "gguf",
    "numpy",
    "scipy",
    "httpx",
    "jsonschema",
    "typer",
)
_TESTED_SYSTEM = "Linux"
_FALLBACKS = (
    "here it cannot see other limits of memory and cores than those of the whole machine, find "
    "processes that left the group of their engine, or list the loaded libraries"
)
_NEVER_RUN = "untested: the engine was never run on this backend"
_UNTESTED = {
    CPU: None,
    "cuda": None,
    "vulkan": "tested with Mesa's software driver only (llvmpipe), never on a GPU",
}
"""What is not known of a backend, by its name; the profile of any other is made in the same way."""


def run_doctor(session: Session, *, expect_gpu: bool) -> ExitCode:
    """Print what is installed and what would be checked.

    Returns 4 if an engine that would be used cannot be described, or if a GPU is expected and
    llama.cpp would run on the CPU.
    """
    print("\n".join(_installed()))
    workspace = wiring.workspace_for(session)
    print("\n".join([*_matrix(workspace), *_providers(workspace)]))
    specs = _used(session)
    described = [(spec, _print_engine(workspace, spec)) for spec in specs]
    is_ready = all(facts is not None for _, facts in described)
    _print_unused(workspace, {spec.name for spec in specs})
    if expect_gpu and is_on_the_cpu(described):
        is_ready = False
        print("\nllama.cpp would run on the CPU only: give --device cuda, or change the matrix")
    return ExitCode.PASSED if is_ready else ExitCode.INCONCLUSIVE


def _used(session: Session) -> list[EngineSpec]:
    """Return the engines that a check of this selection would use, on its devices."""
    planned = session.plan()
    scored = (policy.local_model for part in planned.logprobs for policy in part.policies)
    models = [*planned.tokens.models.values(), *(model for model in scored if model is not None)]
    specs = engine_specs(models)
    devices = session.selection.devices
    if not devices:
        return specs
    return [replace(spec, device=device) for spec in specs for device in devices]


def is_on_the_cpu(described: Sequence[tuple[EngineSpec, Facts | None]]) -> bool:
    """Return whether llama.cpp is used only on the CPU, be it by a driver that acts as a GPU."""
    ours = [(spec, facts) for spec, facts in described if spec.kind.is_llama_cpp]
    on_cpu = (
        spec.device == CPU or (facts or {}).get("device.kind") == "software" for spec, facts in ours
    )
    return bool(ours) and all(on_cpu)


def _print_engine(workspace: wiring.Workspace, spec: EngineSpec) -> Facts | None:
    """Print the facts of an engine and return them; None if it cannot be described."""
    try:
        described = describe_engine(workspace.session.engines, spec)
    except MeasurementUnavailable as error:
        problem = log_line(f"engine {spec.name} ({spec.kind.value} {spec.place}): {error}")
        print(f"\n{problem}")
        return None
    print("\n".join(_engine(workspace, spec, described)))
    return described.facts


def _print_unused(workspace: wiring.Workspace, used: AbstractSet[str]) -> None:
    for spec in engine_specs(workspace.matrix.models.values()):
        if spec.name not in used:
            reason = "is not used by any selected cell"
            print(f"\nengine {spec.name} ({spec.kind.value} {spec.place}) {reason}")


def _installed() -> Iterator[str]:
    yield f"repro-gate {repro_gate.__version__}"
    yield f"python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() != _TESTED_SYSTEM:
        yield f"repro-gate is tested on {_TESTED_SYSTEM} only: {_FALLBACKS}"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"
    yield f"huggingface_hub {'is' if is_hub_installed() else 'is not'} installed"
    yield f"nvidia-smi {'is' if shutil.which('nvidia-smi') else 'is not'} on the PATH"
    yield f"CI is {os.environ['CI']!r}" if "CI" in os.environ else "CI is not set"


def _matrix(workspace: wiring.Workspace) -> Iterator[str]:
    matrix = workspace.matrix
    yield f"\nmatrix {workspace.session.file}"
    for suite in matrix.suites.values():
        default = ", by default" if suite.name in matrix.default_suites else ""
        against = "" if suite.against is None else f" against {suite.against}"
        cells = f"{len(suite.cells)} cells x {suite.runs} runs"
        yield f"  suite {suite.name}: {cells}{against}{default}"
        yield from _waits(workspace, suite)
        if suite.against is not None:
            yield from (f"    {line}" for line in reference_lines(workspace, suite.against))
    for logprobs in matrix.logprob_suites.values():
        default = ", by default" if logprobs.name in matrix.default_suites else ""
        draws = f"{logprobs.tolerance.draws} draws of log-probabilities"
        yield f"  suite {logprobs.name}: {len(logprobs.cells)} cells x {draws}{default}"
    for file in _files_of(matrix.models.values()):
        path = workspace.models.path_of(file)
        pinned = workspace.models.expected_sha256(file)
        presence = "present" if workspace.models.absence_of(file) is None else "absent"
        yield f"  model {file.key}: {presence}, {path}"
        yield f"    {f'pinned to {pinned}' if pinned else 'not pinned'}"
    yield from (f"  model {line}" for line in _without_files(matrix.models.values()))


def _without_files(models: Iterable[ModelSpec]) -> list[str]:
    """Return a line for each model of which only its server knows the files."""
    known_to_server = "no file here, as the matrix names no source: only its server knows it"
    return [f"{model.name}: {known_to_server}" for model in models if not model.has_files]


def _files_of(models: Iterable[ModelSpec]) -> Iterator[FileSpec]:
    return (file for model in models for file in model.files)


def _waits(workspace: wiring.Workspace, suite: Suite) -> Iterator[str]:
    """Yield what a suite still needs before it can be checked, and the command for it."""
    goldens = workspace.goldens
    profiles = goldens.profiles() if suite.against is None else {suite.against}
    recorded = frozenset[str]().union(*map(goldens.recorded, profiles))
    for name in dict.fromkeys(cell.model for cell in suite.cells):
        absent = [
            file
            for file in workspace.matrix.models[name].files
            if workspace.models.absence_of(file) is not None
            and not file.source.startswith("builtin:")
        ]
        has_goldens = any(cell.id in recorded for cell in suite.cells if cell.model == name)
        record = (
            f"repro-gate update-snapshots --suite {suite.name} --only '{name}--*'"
            if suite.against is None
            else "repro-gate update-snapshots there, with a suite of tokens"
        )
        if absent:
            lacks = "its file" if has_goldens else "its file and goldens"
            yield f"    {absent[0].key} waits for {lacks}: {absence_remedy(absent[0])}"
        elif not has_goldens:
            where = "" if suite.against is None else f" of {suite.against}"
            yield f"    {name} waits for goldens{where}: {record}"


def _providers(workspace: wiring.Workspace) -> Iterator[str]:
    cells = _logprob_cells(workspace)
    for provider in dict.fromkeys(cell.policy.provider for cell in cells):
        if not provider.is_local:
            ours = {cell.id for cell in cells if cell.policy.provider == provider}
            host = one_line(provider.host)
            yield f"  provider {provider.name} ({provider.kind.value} at {host}): {_key(provider)}"
            yield f"    {_baselines(workspace, provider.name, ours)}"


def _key(provider: ProviderSpec) -> str:
    """Return whether there is a key, never its value."""
    if provider.api_key_env is None:
        return "needs no key"
    try:
        read_key(provider, os.environ)
    except MeasurementUnavailable as error:
        return error.reason
    return f"{provider.api_key_env} is set"


def _baselines(workspace: wiring.Workspace, source: str, ours: set[str]) -> str:
    recorded = workspace.baselines.recorded(source)
    orphaned = recorded - {cell.id for cell in _logprob_cells(workspace)}
    return f"{len(recorded & ours)} baselines of {len(ours)} cells, {len(orphaned)} orphaned"


def _logprob_cells(workspace: wiring.Workspace) -> list[LogprobCell]:
    return [cell for suite in workspace.matrix.logprob_suites.values() for cell in suite.cells]


def _engine(
    workspace: wiring.Workspace, spec: EngineSpec, described: EngineReport
) -> Iterator[str]:
    matrix = workspace.matrix
    recorded = workspace.goldens.recorded(described.profile)
    claimed = {cell.id for cell in matrix.cells()}
    ours = {c.id for c in matrix.cells() if matrix.models[c.model].engine.name == spec.name}
    yield f"\nengine {spec.name} ({spec.kind.value} {spec.place})"
    yield (
        f"  profile {described.profile}: {len(recorded & ours)} goldens of {len(ours)} cells, "
        f"{len(recorded - claimed)} orphaned"
    )
    yield from (f"    {line}" for line in reference_lines(workspace, described.profile))
    models = ((cell.id, cell.policy.local_model) for cell in _logprob_cells(workspace))
    scored = {cell_id for cell_id, model in models if model and model.engine.name == spec.name}
    if scored:
        yield f"    {_baselines(workspace, described.profile, scored)}"
    untested = _UNTESTED.get(spec.device.partition(":")[0], _NEVER_RUN)
    if spec.kind.is_llama_cpp and untested:
        yield f"  {untested}"
    for name, value in sorted(described.facts.items()):
        yield f"  {name} = {value}"


def run_list(session: Session, *, as_json: bool) -> ExitCode:
    """Print every model of the matrix: its path, its pinned digest, and whether it is present."""
    workspace = wiring.workspace_for(session)
    rows = [
        {
            "name": file.key,
            "source": file.source,
            "path": str(workspace.models.path_of(file)),
            "sha256": workspace.models.expected_sha256(file),
            "present": workspace.models.absence_of(file) is None,
        }
        for file in _files_of(workspace.matrix.models.values())
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['name']}: {'present' if row['present'] else 'absent'}, {row['source']}")
            print(f"  {row['path']}")
            print(f"  sha256 {row['sha256'] or 'not pinned'}")
        for line in _without_files(workspace.matrix.models.values()):
            print(line)
    return ExitCode.PASSED


def run_fetch(session: Session, names: Sequence[str]) -> ExitCode:
    """Build or download models, all of them by default."""
    workspace = wiring.workspace_for(session)
    for model in session.models(names):
        located = workspace.models.fetch(model)
        for file, found in zip(model.files, located.files, strict=True):
            print(f"{file.key}: {found.path}")
    for line in _without_files(session.models(names)):
        print(line)
    return ExitCode.PASSED


def run_verify(session: Session, names: Sequence[str]) -> ExitCode:
    """Compare the digest of each model file with the pinned one."""
    workspace = wiring.workspace_for(session)
    without = _without_files(session.models(names))
    for line in without:
        print(line)
    good = not without
    for file in _files_of(session.models(names)):
        verdict = _verify(workspace, file)
        good = good and verdict is None
        print(f"{file.key}: {verdict or 'is the pinned file'}")
    return ExitCode.PASSED if good else ExitCode.INCONCLUSIVE


def _verify(workspace: wiring.Workspace, model: FileSpec) -> str | None:
    path = workspace.models.path_of(model)
    expected = workspace.models.expected_sha256(model)
    absence = workspace.models.absence_of(model)
    if absence is not None:
        return f"absent: {absence}; {absence_remedy(model)}"
    try:
        digest = sha256_of(path)
    except MeasurementUnavailable as error:
        return str(error)
    if expected is None:
        return f"not pinned yet; its sha256 is {digest}"
    if digest == expected:
        return None
    remedy = another_file(model, expected=expected, found=digest).remedy
    return f"has the sha256 {digest}, expected {expected}; {remedy}"
