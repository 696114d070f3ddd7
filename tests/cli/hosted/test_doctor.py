"""What the doctor shows about providers, their keys and their baselines."""

import pytest

from tests.cli.hosted.workspaces import KEY_ENV, TRAIN, HostedWorkspace
from tests.fakes.fireworks.server import Api


@pytest.mark.parametrize(
    ("key", "key_state"),
    [
        ("fw_of_the_doctor", f"{KEY_ENV} is set"),
        ("", f"{KEY_ENV} is not set"),
        ("fw_of_the doctor", f"{KEY_ENV} contains a space, a line break or another character "),
    ],
    ids=["set", "unset", "broken"],
)
def test_the_doctor_shows_whether_there_is_a_key(
    hosted: HostedWorkspace, api: Api, key: str, key_state: str
) -> None:
    """It shows host, variable and baselines, never the key, and makes no request."""
    hosted.baseline(TRAIN).rename(hosted.baseline("former--train"))
    host = api.host.removeprefix("http://")

    ran = hosted.run("doctor", **{KEY_ENV: key})

    assert (ran.code, api.requests, "fw_of_the" in ran.out + ran.err) == (0, [], False)
    assert "  suite hosted: 2 cells x 5 draws of log-probabilities, by default\n" in ran.out
    assert f"  provider fake (fireworks at {host}): {key_state}" in ran.out
    assert "\n    1 baselines of 2 cells, 1 orphaned\n" in ran.out


def test_a_provider_may_need_no_key(hosted: HostedWorkspace, api: Api) -> None:
    """Then there is no variable to show."""
    hosted.ask(api.base_url, provider={"kind": "openai", "api_key_env": None})

    assert "): needs no key\n    2 baselines of 2 cells" in hosted.run("doctor").out
