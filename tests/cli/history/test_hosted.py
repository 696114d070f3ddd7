"""A real check of a hosted model, seen in its history."""

import json
from typing import Any

import pytest

from tests.cli.hosted.workspaces import TRAIN, HostedWorkspace
from tests.fakes.fireworks.effects import Shift, on
from tests.fakes.fireworks.hosting import MODEL
from tests.fakes.fireworks.server import Api


def test_the_outlier_of_a_check_is_found_again(hosted: HostedWorkspace, api: Api) -> None:
    """One draw 114 nats too low, with its request id, time, tokens and price."""
    hosted.ask(
        api.base_url, suite={"max_outlier_rate": 0}, provider={"usd_per_million_tokens": 0.9}
    )
    api.follow(on(2, Shift(nats=-114.0), text="nine"))
    hosted.check()
    outlier = hosted.logprob_cell(TRAIN)["outliers"][0]
    added = [hosted.run("history", "add", str(hosted.output)) for _ in range(2)]
    hosted.run("history", "add", str(hosted.snapshots / "baselines"))

    exported = hosted.run("history", "export", "--format", "jsonl", "--suite", "hosted")

    assert [ran.out.splitlines()[-1] for ran in added] == [
        "1 new session, 0 known",
        "0 new sessions, 1 known",
    ]
    rows: list[dict[str, Any]] = list(map(json.loads, exported.out.splitlines()))
    (far,) = (row for row in rows if row["is_far"])
    assert far["total"] == pytest.approx(outlier["total"])
    assert (far["cell"], far["verdict"], far["purpose"]) == (TRAIN, "outlier", "first_look")
    assert far["request_id"] == outlier["request_id"]
    assert (far["at"][:2], far["model"], far["attempts"]) == ("20", MODEL, 1)
    assert far["tokens"] > 5
    assert far["usd"] == pytest.approx(far["tokens"] * 0.9e-6)
    kinds = {row["kind"]: row["suite"] for row in rows}
    assert kinds == {"check": "hosted", "calibration": None}
