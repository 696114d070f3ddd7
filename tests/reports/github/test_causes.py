"""How a comment shows what to type to accept each cause."""

import re
from dataclasses import replace

from repro_gate.core.changes.groups import change_groups
from repro_gate.core.tokens.golden import FactChange
from tests.fakes.values import control_of
from tests.reports.github.samples import RUN
from tests.reports.github.test_sections import FORK, drifts_of, text_of


def test_each_cause_has_its_command_and_its_reply() -> None:
    """The largest first, with what its cells share."""
    changes = [FactChange(name=f"fact{number}", before="a", after="b") for number in range(4)]
    report = drifts_of(tuple(changes[:1]), tuple(changes), tuple(changes))
    run = replace(RUN, artifact="gate", accepts=True)
    large, small = change_groups(report)

    text = text_of(report, run)

    update = "repro-gate update-snapshots --from repro-gate-run-17204881234 --cause"
    assert (
        f"**2 cells**: `{large.kind}`, `fact0: a -> b`, `fact1: a -> b`, and 2 more facts\n\n"
        f"```sh\n{update} {large.id}\n```\n\n"
        f"or reply:\n\n```text\n/repro-gate accept --cause {large.id}\n```\n"
    ) in text
    assert text.index(large.id) < text.index(f"**1 cell**: `{small.kind}`") < text.index(small.id)
    assert "`repro-gate review --run 17204881234 --name gate`" in text


def test_a_reply_is_promised_only_where_it_is_set_up() -> None:
    """Whoever writes one elsewhere gets no answer."""
    assert "/repro-gate accept" not in text_of(drifts_of(()), replace(RUN, artifact="gate"))
    assert "/repro-gate accept" not in text_of(drifts_of(()), replace(FORK, accepts=True))


def test_many_causes_are_cut() -> None:
    """The others are in the report."""
    facts = [(FactChange(name="fact", before="a", after=str(number)),) for number in range(12)]

    text = text_of(drifts_of(*facts))

    assert text.count("--cause ") == 10
    assert "\nand 2 more causes, which `report.html` has.\n" in text


def test_no_text_of_a_report_is_inside_a_command() -> None:
    """Some shells run what follows a `#` in a line that is pasted."""
    hostile = FactChange(name="a", before=None, after="; touch pwned #")

    blocks = re.findall(r"```sh\n(.*?)```", text_of(drifts_of((hostile,))), re.DOTALL)

    assert blocks
    assert not any("pwned" in block for block in blocks)


def test_cells_that_cannot_be_accepted_are_in_no_cause() -> None:
    """Such as the drifts of a model that ignores its seed."""
    report = drifts_of((), ())
    ignored = replace(report, controls=(control_of(report.cells[0].cell),))

    assert "--cause" in text_of(report)
    assert "--cause" not in text_of(ignored)
