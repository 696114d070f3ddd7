"""What of a suite is not as in its epoch."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.logprobs.policy import LogprobCell, ProviderKind, ProviderSpec
from repro_gate.core.watch.changes import definition_of, epoch_changes
from repro_gate.core.watch.epoch import Epoch
from tests.fakes.nights import epoch_of, watched_cell_of
from tests.fakes.scoring import item_of, policy_of

FOX = LogprobCell(policy=policy_of(), item=item_of("fox"))
WATCHED = watched_cell_of("fox", definition=definition_of(FOX))


def _epoch(**changes: Any) -> Epoch:
    return replace(epoch_of(), cells={FOX.id: replace(WATCHED, **changes)})


def test_the_suite_of_an_epoch_has_not_changed() -> None:
    """Neither does another port of a server on this machine change it."""
    local = [
        replace(FOX.policy.provider, base_url=f"http://127.0.0.1:{port}/v1") for port in (1, 2)
    ]
    first, second = (replace(FOX, policy=policy_of(provider=each)) for each in local)
    epoch = _epoch(definition=definition_of(first))

    assert list(epoch_changes(_epoch(), [FOX])) == []
    assert list(epoch_changes(epoch, [second])) == []


@pytest.mark.parametrize(
    ("cell", "change"),
    [
        (replace(FOX, policy=policy_of(model="other")), "model was 'accounts/test/models/tiny'"),
        (replace(FOX, item=replace(FOX.item, prompt="Say it")), "prompt was 'Say fox'"),
        (
            replace(
                FOX,
                policy=policy_of(
                    provider=replace(FOX.policy.provider, base_url="https://proxy.test/v1")
                ),
            ),
            "host was 'api.test' and is 'proxy.test'",
        ),
        (
            replace(FOX, policy=policy_of(provider=replace(FOX.policy.provider, name="moved"))),
            "provider was test-provider and is moved",
        ),
    ],
)
def test_a_change_of_a_cell_is_named(cell: LogprobCell, change: str) -> None:
    """With what was and what is."""
    (found,) = epoch_changes(_epoch(), [cell])

    assert found.startswith(f"base--fox: {change}")


def test_a_long_value_is_cut() -> None:
    """A prompt may have thousands of characters."""
    cell = replace(FOX, item=replace(FOX.item, prompt="long " * 1000))

    (found,) = epoch_changes(_epoch(), [cell])

    assert found.endswith("long long long ...'")
    assert len(found) < 200


def test_a_fact_without_a_record_is_named() -> None:
    """Such as one that an earlier version did not keep."""
    definition = {name: value for name, value in WATCHED.definition.items() if name != "system"}

    (found,) = epoch_changes(_epoch(definition=definition), [FOX])

    assert found == "base--fox: system was not recorded and is ''"


def test_new_and_dropped_cells_are_named() -> None:
    """A provider that drops a model makes a watch unknown, never quiet."""
    other = LogprobCell(policy=policy_of(), item=item_of("dog"))

    assert list(epoch_changes(_epoch(), [other])) == [
        "base--dog is new in the suite",
        "base--fox is not in the suite any more",
    ]


def test_another_rule_is_a_change() -> None:
    """Nights that one rule judged keep no rate under another."""
    (found,) = epoch_changes(replace(_epoch(), rule="old/v0"), [FOX])

    assert found == "the epoch is judged by the rule old/v0, and this version has night-ranks/v1"


def test_a_local_cell_has_no_host() -> None:
    """And its source is the profile of the machine, which the matrix does not have."""
    local = policy_of(provider=ProviderSpec(name="local", kind=ProviderKind.LOCAL))
    cell = replace(FOX, policy=local)

    assert "host" not in definition_of(cell)
    epoch = _epoch(definition=definition_of(cell), source="cpu-x86_64")
    assert list(epoch_changes(epoch, [cell])) == []
