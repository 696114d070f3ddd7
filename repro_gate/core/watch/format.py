"""The format of the committed file of a watch; schema: `repro_gate/schemas/watch-v1.json`.

Texts of a provider are escaped by `escape_text`, so that displaying a file is safe. A digest guards
against edits.
"""

from collections.abc import Mapping
from typing import Any, Final

from repro_gate.core.logprobs.baseline_format import encoding_from_data
from repro_gate.core.text import digest_of, unescape_text
from repro_gate.core.watch.epoch import Dismissal, Epoch, Reference, Watch, WatchedCell

SCHEMA: Final = "repro-gate/watch/v1"


def to_data(watch: Watch) -> dict[str, Any]:
    """Return a watch as plain JSON data."""
    content = {
        "schema": SCHEMA,
        "epoch": watch.epoch.content(),
        "dismissals": [
            {"nights": list(each.nights), "reason": each.reason, "at": each.at}
            for each in watch.dismissals
        ],
    }
    return {**content, "digest": digest_of(content)}


def is_intact(data: Mapping[str, Any]) -> bool:
    """Return whether data of the right schema is unedited, by its digest."""
    content = {key: value for key, value in data.items() if key != "digest"}
    return digest_of(content) == str(data["digest"])


def from_data(data: Mapping[str, Any]) -> Watch:
    """Return the watch in data of the right schema.

    Raises:
        ValueError: a value has the right type and is invalid.
    """
    return Watch(
        epoch=_epoch(data["epoch"]),
        dismissals=tuple(
            Dismissal(nights=tuple(each["nights"]), reason=each["reason"], at=each["at"])
            for each in data["dismissals"]
        ),
    )


def _epoch(data: Mapping[str, Any]) -> Epoch:
    return Epoch(
        suite=data["suite"],
        cells={name: _cell(name, cell) for name, cell in data["cells"].items()},
        draws=data["draws"],
        rate=float(data["rate"]),
        nights=data["nights"],
        floor_nats=float(data["floor_nats"]),
        opened_at=data["opened_at"],
        reason=data["reason"],
        previous=data["previous"],
        rule=data["rule"],
    )


def _cell(name: str, data: Mapping[str, Any]) -> WatchedCell:
    definition = data["definition"]
    cell_id = f"{definition['policy']}--{definition['item']}"
    if name != cell_id:
        raise ValueError(f"'epoch.cells.{name}' has the definition of {cell_id}")
    return WatchedCell(
        source=data["source"],
        definition=definition,
        encoding=encoding_from_data(data),
        answered_as=unescape_text(data["answered_as"]),
        reference=Reference(
            value=float(data["reference"]["value"]), far=float(data["reference"]["far"])
        ),
    )
