"""What of a suite is not as in the epoch of its watch."""

from collections.abc import Iterable, Iterator

from repro_gate.core.logprobs.policy import LogprobCell
from repro_gate.core.tokens.golden import Facts, provenance_changes
from repro_gate.core.watch.epoch import RULE, Epoch

_MAX_VALUE = 60
"""Characters of a value; a prompt may have thousands."""


def definition_of(cell: LogprobCell) -> Facts:
    """Return what the log-probabilities of a watched cell depend on, with the host that answers."""
    place = cell.policy.provider.place
    return {**cell.definition, **({"host": place} if place else {})}


def epoch_changes(epoch: Epoch, cells: Iterable[LogprobCell]) -> Iterator[str]:
    """Yield how the cells of a suite, and the rule, differ from an epoch."""
    if epoch.rule != RULE:
        yield f"the epoch is judged by the rule {epoch.rule}, and this version has {RULE}"
    present = {cell.id: cell for cell in cells}
    for name in sorted(epoch.cells.keys() | present.keys()):
        watched = epoch.cells.get(name)
        if watched is None:
            yield f"{name} is new in the suite"
        elif name not in present:
            yield f"{name} is not in the suite any more"
        else:
            for change in provenance_changes(watched.definition, definition_of(present[name])):
                before, after = _shown(change.before), _shown(change.after)
                yield f"{name}: {change.name} was {before} and is {after}"
            source = present[name].policy.provider
            if not source.is_local and source.name != watched.source:
                yield f"{name}: provider was {watched.source} and is {source.name}"


def _shown(value: str | None) -> str:
    if value is None:
        return "not recorded"
    return repr(value if len(value) <= _MAX_VALUE else f"{value[:_MAX_VALUE]}...")
