"""The recorded session of a new user with SmolLM2 is what happens today."""

import re
from pathlib import Path

from benchmarks.first_gates import TOKENS, own_file
from tests.docs.pages import page

_OF_MACHINE = re.compile(r"^  (?:GPU|server) .*\n", re.MULTILINE)


def test_the_session_with_real_weights_is_the_committed_one(smollm2: Path) -> None:
    """From `init` to the first green check, with the answers."""
    committed, *_ = page("docs/examples/start/report.md").blocks("text")

    printed = own_file(smollm2, *TOKENS)

    assert _OF_MACHINE.sub("", printed).rstrip() == _OF_MACHINE.sub("", committed).rstrip()
