"""The recipient's policy: what evidence has to show before a release is accepted.

It names what must be there, never what must be absent: evidence from which something was removed
cannot satisfy it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from repro_gate.core.guards import require_at_least, require_name, require_text

MAX_WAIVER: Final = timedelta(days=90)
"""From the beginning of a waiver to its end."""
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far clocks of signers may be ahead, unless the policy has another figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key that the recipient trusts."""

    name: str
    """By whom, for messages; identities are keys."""
    key: bytes
    """The 32 bytes of an Ed25519 public key."""
    required: bool = False
    """Whether this key has to be among the signers."""
    not_before: date | None = None
    not_after: date | None = None
    """The last day, in UTC."""

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.not_before and self.not_after and self.not_after < self.not_before:
            raise ValueError(f"the key {self.name!r} ends before it begins")

    def is_valid_at(self, now: datetime) -> bool:
        """Return whether a moment lies within the days of the key."""
        today = now.astimezone(UTC).date()
        return (self.not_before is None or today >= self.not_before) and (
            self.not_after is None or today <= self.not_after
        )

    @property
    def days(self) -> str:
        """When it is valid."""
        return f"{self.not_before or 'any day'} to {self.not_after or 'any day'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Keys, and how many different ones have to sign."""

    keys: tuple[TrustedKey, ...]
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise ValueError(
                f"the threshold must be from 1 to the number of keys, {len(self.keys)}, got "
                f"{self.threshold}"
            )
        _require_once("name", (key.name for key in self.keys))
        # One party must not meet a threshold of two.
        names = {key.key: key.name for key in self.keys}
        for key in self.keys:
            if names[key.key] != key.name:
                raise ValueError(f"{key.name!r} and {names[key.key]!r} are the same key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a recipient demands; see docs/reference/policy.md."""

    repository: str
    """`git+https://HOST/PATH`, compared whole: a fork has the same commit ids."""
    signers: Signers
    suites: tuple[str, ...]
    """Suites whose every test has to be there."""
    profiles: tuple[str, ...]
    """Machine profiles on which each of them has to be there."""
    max_age: timedelta
    """Since the measurement."""
    matrix: str = "repro-gate.toml"
    """The path of the matrix file in the repository."""
    artifacts: tuple[str, ...] = ()
    """Names of artifacts that have to be signed and given; `*` stands for any characters."""
    minimum_tests: int = 1
    clock_skew: timedelta = CLOCK_SKEW
    waivers: Signers | None = None
    """Who may sign a waiver; None accepts no waivers."""
    may_release_and_waive: bool = False
    """Whether one key may be in both lists."""

    def __post_init__(self) -> None:
        require_text(matrix=self.matrix)
        require_at_least(1, suites=len(self.suites), minimum_tests=self.minimum_tests)
        _require_once("suite", self.suites)
        _require_once("profile", self.profiles)
        if self.max_age <= timedelta() or self.clock_skew < timedelta():
            raise ValueError("max_age must be above 0, and clock_skew at least 0")
        releasing = {key.key: key.name for key in self.signers.keys}
        for key in self.waivers.keys if self.waivers else ():
            if key.key in releasing and not self.may_release_and_waive:
                raise ValueError(
                    f"the key {releasing[key.key]!r} may both release and waive; if you want "
                    f"that, set waivers.may_release_and_waive = true"
                )


def is_matched(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern, in which only `*` is special."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def listed(names: Collection[str], *, limit: int = 3) -> str:
    """Return some names, and how many more there are; for a message."""
    shown = sorted(names)[:limit]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(shown)}{more}" if shown else "none"


def _require_once(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"the {what} {name!r} is there {count} times")
