"""What is known of facts."""

import pytest

from repro_gate.core.tokens.golden import FactChange
from repro_gate.reports.findings.facts import Effect, by_effect, known_change, known_fact


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("model.sha256", Effect.RESULTS),
        ("model.name", Effect.POSSIBLE),
        ("setting.flash_attention", Effect.ROUNDING),
        ("setting.kv_type_k", Effect.ROUNDING),
        ("setting.load_mode", Effect.NONE),
        ("something.else", Effect.POSSIBLE),
    ],
)
def test_the_longest_prefix_is_known(name: str, effect: Effect) -> None:
    """A fact that no prefix names may change anything."""
    assert known_fact(name).effect is effect


def test_facts_that_change_results_come_first() -> None:
    """What an earlier version did not record comes last, except for a variable."""
    names = ("memory.kv", "setting.repack", "model.sha256", "setting.threads")
    changes = [FactChange(name=name, before="a", after="b") for name in names]
    new = [
        FactChange(name=name, before=None, after="b")
        for name in ("model.description", "model.lora.1.scale", "env.A")
    ]
    assert [change.name for change in by_effect([*new, *changes])] == [
        "model.lora.1.scale",
        "model.sha256",
        "setting.repack",
        "env.A",
        "setting.threads",
        "memory.kv",
        "model.description",
    ]


def test_a_fact_that_the_golden_lacks_may_not_have_changed() -> None:
    """Unless it is recorded only where something is set, such as an adapter."""
    new, given = (
        known_change(FactChange(name=name, before=None, after="b"))
        for name in ("model.description", "model.lora.1.scale")
    )
    assert (new.effect, given) == (Effect.NONE, known_fact("model.lora.1.scale"))
    assert "recorded without" in new.sentence
