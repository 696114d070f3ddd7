"""A policy refuses to demand what would accept anything."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from repro_gate.core.sign_off.policy import Signers, TrustedKey, is_matched, listed
from repro_gate.core.sign_off.statement import repository_uri
from tests.fakes.releases import policy_of, signers_of


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_a_threshold_lies_between_one_and_the_number_of_keys(threshold: int) -> None:
    """Zero would be no check, and more than there are keys could never be met."""
    with pytest.raises(ValueError, match="from 1 to the number of keys, 2"):
        signers_of("alice", "bob", threshold=threshold)


def test_no_keys_are_no_policy() -> None:
    """Whatever the threshold."""
    with pytest.raises(ValueError, match="from 1 to the number of keys, 0"):
        signers_of(threshold=1)


def test_one_key_has_one_name() -> None:
    """Or one party would meet a threshold of two."""
    alice, bob = signers_of("alice", "bob").keys

    with pytest.raises(ValueError, match="'alice' and 'bob' are the same key"):
        Signers(keys=(alice, replace(bob, key=alice.key)), threshold=2)
    with pytest.raises(ValueError, match="the name 'alice' is there 2 times"):
        Signers(keys=(alice, replace(bob, name="alice")), threshold=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: policy_of(suites=()), "suites must be at least 1"),
        (lambda: policy_of(suites=("a", "a")), "the suite 'a' is there 2 times"),
        (lambda: policy_of(profiles=("a", "a")), "the profile 'a' is there 2 times"),
        (lambda: policy_of(minimum_tests=0), "minimum_tests must be at least 1"),
        (lambda: policy_of(max_age=timedelta()), "max_age must be above 0"),
        (lambda: policy_of(clock_skew=timedelta(-1)), "clock_skew at least 0"),
        (lambda: policy_of(matrix=""), "matrix must not be empty"),
        (
            lambda: policy_of(waivers=signers_of("carol", "alice")),
            "the key 'alice' may both release and waive",
        ),
        (
            lambda: TrustedKey(
                name="a", key=b"", not_before=date(2026, 2, 1), not_after=date(2026, 1, 1)
            ),
            "the key 'a' ends before it begins",
        ),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(make: Callable[[], Any], message: str) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=message):
        make()


def test_one_key_may_release_and_waive_if_the_policy_wants_it() -> None:
    """It has to be written down."""
    both = policy_of(waivers=signers_of("alice"), may_release_and_waive=True)

    assert both.waivers == signers_of("alice")


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("model.gguf", "model.gguf", True),
        ("model.gguf", "*.gguf", True),
        ("model.gguf", "*", True),
        ("model.gguf", "m*l.*f", True),
        ("model.gguf", "model*gguf*", True),
        ("modelXgguf", "model.gguf", False),
        ("model.gguf", "model.gguf2", False),
        ("model.gguf", "m?del.gguf", False),
        ("model.gguf", "[m]odel.gguf", False),
        ("model.gguf\n", "model.gguf", False),
    ],
)
def test_a_pattern_matches_whole_names(name: str, pattern: str, expected: bool) -> None:  # noqa: FBT001 -- a case
    """With one special character."""
    assert is_matched(name, pattern) is expected


def test_a_list_of_names_is_short() -> None:
    """The rest is counted."""
    assert listed(set()) == "none"
    assert listed({"b", "a"}) == "a, b"
    assert listed(["d", "c", "b", "a"]) == "a, b, c and 1 more"


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/acme/model",
        "https://github.com/acme/model.git",
        "https://github.com/acme/model/",
        "https://user:token@GitHub.com/acme/model.git",
        "git+https://github.com/acme/model",
        "ssh://git@github.com/acme/model.git",
        "git@github.com:acme/model.git",
        " https://github.com/acme/model\n",
    ],
)
def test_an_address_has_one_form(address: str) -> None:
    """Without a password."""
    assert repository_uri(address) == "git+https://github.com/acme/model"


def test_an_address_may_have_a_port() -> None:
    """As a server of one's own may."""
    assert repository_uri("https://git.local:8443/a/b") == "git+https://git.local:8443/a/b"


@pytest.mark.parametrize("address", ["", "model", "/srv/git/model", "file:///x", "https://host"])
def test_other_addresses_are_refused(address: str) -> None:
    """They mean something on one machine only."""
    with pytest.raises(ValueError, match="a repository is an address such as https://HOST/PATH"):
        repository_uri(address)
