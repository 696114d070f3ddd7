"""A repository: a token is sent only where it is safe, and a post is ours by its author."""

from typing import Any

import pytest

from repro_gate.adapters.github.repository import Repository, is_by
from repro_gate.adapters.http.secret import Secret
from repro_gate.errors import PublishFailed
from tests.fakes.github.world import OF_JOB


@pytest.mark.parametrize(
    ("login", "comment", "is_ours"),
    [
        ("me", {"user": {"login": "Me", "type": "User"}}, True),
        ("me", {"user": {"login": "you", "type": "User"}}, False),
        ("me", {"user": None}, False),
        ("a[bot]", {"user": {"login": "a[bot]", "type": "Bot"}}, True),
        ("a[bot]", {"user": {"login": "a[bot]", "type": "User"}}, False),
        (
            "a[bot]",
            {
                "user": {"login": "a[bot]", "type": "Bot"},
                "performed_via_github_app": {"slug": "a"},
            },
            True,
        ),
        (
            "a[bot]",
            {
                "user": {"login": "a[bot]", "type": "Bot"},
                "performed_via_github_app": {"slug": "b"},
            },
            False,
        ),
    ],
)
def test_an_author_is_matched_by_login_kind_and_app(
    login: str, comment: Any, *, is_ours: bool
) -> None:
    """All that are present must match; an app need not be named."""
    assert is_by(login, comment) is is_ours


def test_without_a_token_there_is_no_request() -> None:
    """The error has the remedy."""
    with pytest.raises(PublishFailed, match="no GITHUB_TOKEN") as caught:
        Repository("https://api.github.com", "octo/gate", Secret())

    assert caught.value.remedy == (
        "set GITHUB_TOKEN to ${{ github.token }} in the environment of the step"
    )


@pytest.mark.parametrize("name", ["", "gate", "a/b/c", "../gate", "octo/..", "a b/c", "a/b?c"])
def test_an_invalid_repository_is_not_put_into_a_path(name: str) -> None:
    """It could lead to any other endpoint."""
    with pytest.raises(PublishFailed, match="owner/name"):
        Repository("https://api.github.com", name, Secret(OF_JOB))


@pytest.mark.parametrize(
    "api_url",
    [
        "http://ghe.example/api/v3",
        "ftp://api.github.com",
        "https://",
        "https://octo:hunter2@ghe.example",
        "https://ghe.example/?to=x",
        "api.github.com",
        "http://[",
    ],
)
def test_a_token_is_not_sent_in_clear_text(api_url: str) -> None:
    """Nor to an address that is more than a host and a path."""
    with pytest.raises(PublishFailed, match="the address of the API") as caught:
        Repository(api_url, "octo/gate", Secret(OF_JOB))

    assert caught.value.remedy == "check GITHUB_API_URL"
    assert "hunter2" not in str(caught.value)
