"""The note on a merge request: the comment for GitHub, without GitLab's quick actions."""

import re
from typing import Final

_QUICK_ACTION: Final = re.compile(r"^/", re.MULTILINE)


def as_note(comment: str) -> str:
    """Return a comment in which no line begins with a slash, which GitLab would execute."""
    return _QUICK_ACTION.sub(" /", comment)
