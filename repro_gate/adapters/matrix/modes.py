"""Read `modes` of a suite of tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro_gate.core.matrix import Evidence, level_alone
from repro_gate.core.tokens.modes import ALONE, Level, Mode, in_order, mode_of
from repro_gate.errors import InputInvalid


def read_modes(file: Path, suite: str, table: Mapping[str, Any]) -> Mapping[Mode, Level]:
    """Return the modes of a suite, with `alone` where there is any; raises `InputInvalid`."""
    place = f"{suite}.modes"
    modes = {mode_of(name): Level(level) for name, level in table.get("modes", {}).items()}
    if not modes:
        return {}
    alone = level_alone(evidence_of(table, modes))
    if modes.get(ALONE, alone) is not alone:
        expected = f"{alone.value!r}, as the evidence and the other modes of the suite need it"
        found = repr(modes[ALONE].value)
        raise InputInvalid.at(file, f"{place}.alone", expected=expected, found=found)
    if "evidence" in table and table["evidence"] != evidence_of(table, modes):
        expected = f"{Evidence.LOGITS.value!r}, as a mode has the level {Level.BITS.value!r}"
        found = repr(table["evidence"])
        raise InputInvalid.at(file, f"{suite}.evidence", expected=expected, found=found)
    return in_order({**modes, ALONE: alone})


def evidence_of(table: Mapping[str, Any], modes: Mapping[Mode, Level]) -> Evidence:
    """Return what the runs of a suite are compared in: the logits where a mode is to the bit."""
    if Level.BITS in modes.values():
        return Evidence.LOGITS
    return Evidence(table.get("evidence", Evidence.TOKENS))
