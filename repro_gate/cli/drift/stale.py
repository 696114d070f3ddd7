"""References that belong to earlier goldens, or to no variant of the matrix."""

from collections.abc import Iterable, Iterator

from repro_gate.cli import wiring
from repro_gate.core.tokens.golden import Golden
from repro_gate.errors import InputInvalid
from repro_gate.reports.text.format import plural


def reference_lines(workspace: wiring.Workspace, profile: str) -> Iterator[str]:
    """Yield the references for the goldens of a profile, with what is to be recorded again."""
    claimed = {cell.id for cell in workspace.matrix.cells()}
    try:
        references = workspace.references.read(profile)
        ids = sorted(workspace.goldens.recorded(profile) & claimed) if references else []
        goldens = [workspace.goldens.read(profile, cell_id) for cell_id in ids]
    except InputInvalid as error:
        yield f"references: {error}"
        return
    for reference in references:
        stale = reference.stale(goldens)
        if not workspace.matrix.names(reference):
            yield f"reference {reference.variant}: of no variant as the matrix has it, so unused"
        elif stale:
            yield f"reference {reference.variant}: stale for {_cells(stale)}: {reference.remedy}"
        else:
            yield f"reference {reference.variant}: {plural(len(reference.cells), 'cell')}"


def stale_lines(workspace: wiring.Workspace, goldens: Iterable[Golden]) -> Iterator[str]:
    """Yield the references that new goldens make stale."""
    by_profile: dict[str, list[Golden]] = {}
    for golden in goldens:
        by_profile.setdefault(golden.profile, []).append(golden)
    for profile, new in by_profile.items():
        try:
            references = workspace.references.read(profile)
        except InputInvalid as error:
            yield f"references {error}"
            continue
        for reference in filter(workspace.matrix.names, references):
            stale = reference.stale(new)
            if stale:
                where = f"{profile}/{reference.variant} is stale for {_cells(stale)}"
                yield f"reference  {where}: {reference.remedy}"


def _cells(ids: tuple[str, ...]) -> str:
    return plural(len(ids), "cell")
