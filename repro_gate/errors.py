"""The exceptions that cross a layer, and the exit code of each.

* ReproGateError
  x UsageInvalid             the command line is invalid              exit 2
  x InputInvalid             an input file is invalid                 exit 3
  x MeasurementUnavailable   something could not be measured          exit 4
    + NothingSelected        the command line selects no cell
    + EngineFailed           the engine died, hung or broke the protocol
  x AcceptRefused            a comment may not record goldens         exit 4
  x PublishFailed            a result could not be published          never changes the exit code
    + CommentGone            the comment to update was deleted

Drift is none of these: it is a value, see `repro_gate.core.tokens.verdicts`.
"""

from typing import Final

_MAX_LENGTH = 1000


class ReproGateError(Exception):
    """An error that the user can act on; any other exception is a bug in this package."""


class UsageInvalid(ReproGateError):
    """The command line asks for something that does not exist or is not allowed here."""


class InputInvalid(ReproGateError):
    """A matrix, golden or report file is invalid.

    The message names the file, the place in it, what was expected and what was found.
    """

    @classmethod
    def at(cls, file: object, place: str, *, expected: str, found: str) -> "InputInvalid":
        """Return the error for one place in one file."""
        where = f"{file}: {place}" if place else str(file)
        return cls(f"{where}: expected {_clipped(expected)}, found {_clipped(found)}")


def _clipped(text: str) -> str:
    # It may be the whole content of a large file.
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


class MeasurementUnavailable(ReproGateError):
    """Something could not be measured; never reported as drift, and never as a pass."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        """A command or one sentence that makes the measurement possible."""


class NothingSelected(MeasurementUnavailable):
    """The command line selects no cell, so there is nothing to check."""


class EngineFailed(MeasurementUnavailable):
    """The engine died, hung or broke the protocol; the next cell needs a new process."""


AFTER_FAILURES: Final = "follow the remedies of the earlier engine failures"


class AcceptRefused(ReproGateError):
    """A comment on a pull request asks for goldens that may not be recorded."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        """One sentence on what to do instead."""


class PublishFailed(ReproGateError):
    """A result could not be published; its verdict is unaffected."""

    def __init__(self, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        """One sentence on how to make it possible, such as a missing permission."""


class CommentGone(PublishFailed):
    """The comment to update was deleted."""
