"""The exceptions that cross a layer, and what each of them means to the user.

* ReproGateError
  x UsageInvalid             the command line cannot be obeyed        exit 2
  x InputInvalid             a file of the user's is wrong            exit 3
  x MeasurementUnavailable   something could not be measured          exit 4
    + NothingSelected        the command line selects no cell
    + EngineFailed           the engine died, hung or answered nonsense
  x PublishFailed            a result could not be told to others     never changes the exit code
    + CommentGone            the comment to change is not there any more

Drift is none of these: it is a value, see `repro_gate.core.tokens.verdicts`.
"""

from typing import Final

_MAX_LENGTH = 1000


class ReproGateError(Exception):
    """Something that the user can read and act on; everything else is a crash of ours."""


class UsageInvalid(ReproGateError):
    """The command line asks for something that does not exist or is not allowed here."""


class InputInvalid(ReproGateError):
    """A matrix, golden or report file is wrong.

    The message names the file, the place in it, what was expected and what was found.
    """

    @classmethod
    def at(cls, file: object, place: str, *, expected: str, found: str) -> "InputInvalid":
        """Return the error for one place in one file."""
        where = f"{file}: {place}" if place else str(file)
        return cls(f"{where}: expected {_clipped(expected)}, found {_clipped(found)}")


def _clipped(text: str) -> str:
    # What was found may be all of a large file.
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


class MeasurementUnavailable(ReproGateError):
    """Something could not be measured; never reported as drift, and never as a pass."""

    def __init__(self, reason: str, *, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        """A command, or one sentence, that would make the measurement possible."""


class NothingSelected(MeasurementUnavailable):
    """The command line selects no cell, so no check began."""


class EngineFailed(MeasurementUnavailable):
    """The engine died, hung or broke the protocol: the next cell needs a fresh one."""


AFTER_FAILURES: Final = "do what the earlier failures of the engine ask for"


class PublishFailed(ReproGateError):
    """A result could not be told where it should have been; the verdict stands all the same."""

    def __init__(self, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        """One sentence that says what would make it possible, such as a permission."""


class CommentGone(PublishFailed):
    """Somebody has deleted the comment that was to be changed."""
