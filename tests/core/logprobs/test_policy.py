"""What the logprob gate asks: policies, items, and the plans made of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.logprobs.policy import (
    Endpoint,
    Item,
    LogprobCell,
    LogprobKind,
    LogprobPlan,
    PolicyKind,
    plan_logprobs,
)
from repro_gate.core.tokens.golden import FactChange
from tests.fakes.scoring import item_of, policy_of, suite_of_logprobs

BASE, CLONE = policy_of(), policy_of("clone", temperature=0.0)
CELL = LogprobCell(policy=BASE, item=item_of("fox"))


def test_a_template_puts_both_prompts_in_their_places() -> None:
    """Everything else in a template stands as it is."""
    policy = policy_of(system="Be brief.", template="<s>{system}</s>{x}{{prompt}}\n")

    assert policy.render("Say fox") == "<s>Be brief.</s>{x}{Say fox}\n"


@given(st.text(), st.text())
def test_a_placeholder_in_a_prompt_is_data(system: str, prompt: str) -> None:
    """A placeholder inside a prompt is not replaced."""
    policy = policy_of(system=f"{{prompt}}{system}", template="{system}|{prompt}")

    assert policy.render(f"{{system}}{prompt}") == f"{{prompt}}{system}|{{system}}{prompt}"


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_an_invalid_temperature_is_refused(temperature: float) -> None:
    """Nothing can be sampled with it."""
    with pytest.raises(ValueError, match="temperature must be"):
        policy_of(temperature=temperature)


def test_at_temperature_0_nothing_is_sampled() -> None:
    """There are raw log-probabilities at temperature 0, and no others."""
    with pytest.raises(ValueError, match="at temperature 0 there are no sampling"):
        policy_of(temperature=0.0, logprobs=LogprobKind.SAMPLING)


def test_names_are_names() -> None:
    """What becomes a part of a file name is held to the same rule as the names of models."""
    with pytest.raises(ValueError, match="a name must be lower-case"):
        policy_of("a--b")
    with pytest.raises(ValueError, match="a name must be lower-case"):
        item_of("../x")


def test_a_response_is_not_empty() -> None:
    """An empty response is certain under every policy."""
    with pytest.raises(ValueError, match="response must not be empty"):
        LogprobCell(policy=BASE, item=Item(name="fox", prompt="Say fox"))


def test_a_cell_knows_its_name_and_its_text() -> None:
    """The id joins policy and item, and the prefix is what the response follows."""
    assert (CELL.id, CELL.prefix) == ("base--fox", "Say fox")


def test_a_definition_is_all_that_the_numbers_depend_on() -> None:
    """What is not in it, such as a time-out, may change without a new baseline."""
    assert CELL.definition == {
        "policy": "base",
        "item": "fox",
        "provider": "fireworks",
        "model": "accounts/test/models/tiny",
        "system": "",
        "template": "{prompt}",
        "temperature": "0.7",
        "logprobs": "raw",
        "prompt": "Say fox",
        "response": " fox",
    }


def test_a_changed_definition_is_listed_fact_by_fact() -> None:
    """Each fact that differs is named with both its values."""
    changed = replace(CELL, policy=replace(BASE, temperature=0.0, system="Be brief."))

    assert set(changed.changes_since(CELL.definition)) == {
        FactChange(name="temperature", before="0.7", after="0.0"),
        FactChange(name="system", before="", after="Be brief."),
    }
    assert CELL.changes_since(CELL.definition) == ()


def test_a_generated_answer_is_defined_by_its_call() -> None:
    """What the item gives as a response has no bearing on it."""
    policy = replace(BASE, temperature=0.0, kind=PolicyKind.GENERATED, max_tokens=8)
    cell = LogprobCell(policy=policy, item=item_of("fox"))

    assert cell.definition == {
        **replace(CELL, policy=replace(BASE, temperature=0.0)).definition,
        "response": "",
        "kind": "generated",
        "top_logprobs": "20",
        "max_tokens": "8",
    }


def test_a_chat_has_messages() -> None:
    """An empty system prompt is none, and the endpoint is part of the definition."""
    policy = replace(BASE, endpoint=Endpoint.CHAT, system="Be brief.", template="")
    cell = LogprobCell(policy=policy, item=item_of("fox"))

    assert policy.messages("Hi") == (("system", "Be brief."), ("user", "Hi"))
    assert replace(policy, system="").messages("Hi") == (("user", "Hi"),)
    assert cell.prefix == "Be brief.\nSay fox"
    assert cell.definition["endpoint"] == "chat"


def test_the_named_suites_are_planned() -> None:
    """Only suites that were named are measured, and the baselines of all of them are claimed."""
    hosted = suite_of_logprobs(policies=[BASE, CLONE], items=1)
    other = replace(suite_of_logprobs(policies=[policy_of("other")], items=1), name="other")
    suites = {"hosted": hosted, "other": other}

    (planned,) = plan_logprobs(suites, names=["hosted", "tokens"], only=None)

    claimed = frozenset({"base--item-0", "clone--item-0", "other--item-0"})
    assert planned == LogprobPlan(suite=hosted, cells=hosted.cells, claimed=claimed)
    assert planned.policies == (BASE, CLONE)


def test_only_the_cells_of_the_pattern_are_planned() -> None:
    """A suite without such a cell has no plan, and no policy without one is called."""
    hosted = suite_of_logprobs(policies=[BASE, CLONE], items=2)

    (planned,) = plan_logprobs({"hosted": hosted}, names=["hosted"], only="clone--*-1")

    assert [cell.id for cell in planned.cells] == ["clone--item-1"]
    assert planned.policies == (CLONE,)
    assert plan_logprobs({"hosted": hosted}, names=["hosted"], only="CLONE*") == ()


def test_the_host_of_a_provider_has_its_port() -> None:
    """Its path is no part of it."""
    provider = replace(BASE.provider, base_url="https://API.example.org:8443/v1")

    assert provider.host == "api.example.org:8443"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://API.example.org:8443/v1", "api.example.org:8443"),
        ("http://127.0.0.1:4711/v1", "127.0.0.1"),
        ("http://localhost:8080", "localhost"),
        ("http://[::1]:8080", "[::1]"),
    ],
)
def test_the_place_of_a_local_server_has_no_port(url: str, place: str) -> None:
    """It is another one after each start."""
    assert replace(BASE.provider, base_url=url).place == place
