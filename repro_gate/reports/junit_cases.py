"""One test case of a JUnit report, before it is XML."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro_gate.core.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case; every text in it is printable, and so allowed in XML."""

    classname: str
    name: str
    outcome: Outcome
    kind: str = ""
    message: str = ""
    body: Sequence[str] = ()
