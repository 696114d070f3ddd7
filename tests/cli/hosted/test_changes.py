"""A hosted model that changes: which changes are findings, and which are notes."""

from typing import Any

import pytest

from tests.cli.hosted.workspaces import ITEMS, PLANE, POLICY, TRAIN, HostedWorkspace
from tests.cli.workspaces import contents_of
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.effects import Edit, Rule, Shift, Swap, on
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.noise import Mixture
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.fireworks.weights import HashedWeights, Quantisation, tiny_weights

_OUTLIER = on(2, Shift(nats=-114.0), text="nine")
_MANY: dict[str, Any] = {f"item{n}": {**ITEMS["plane"], "prompt": f"Say {n}"} for n in range(8)}


@pytest.mark.parametrize(
    ("effect", "text", "verdicts"),
    [
        (Swap(weights=HashedWeights(seed=2)), None, ("drift", "drift")),
        (Shift(nats=-3.0), "nine", ("agrees", "drift")),
        (Shift(nats=-0.3), None, ("drift", "drift")),
    ],
    ids=["other weights", "one item", "every item"],
)
def test_a_change_beyond_the_floor_is_drift(
    hosted: HostedWorkspace,
    api: Api,
    effect: Swap | Shift,
    text: str | None,
    verdicts: tuple[str, str],
) -> None:
    """What moved is a finding, and only that."""
    api.follow(Rule(effect=effect, text=text))

    code = hosted.check().code

    assert (code, hosted.logprob_verdicts()) == (10, {PLANE: verdicts[0], TRAIN: verdicts[1]})
    # The same server, on another port.
    assert hosted.logprob_cell(TRAIN)["verdict"].get("provenance", []) == []


def test_one_token_that_moved_is_named(hosted: HostedWorkspace, api: Api) -> None:
    """The position, the bytes and the nats of the token are in the report, and no other token."""
    api.follow(Rule(effect=Shift(nats=-3.0, token=3), text="nine"))

    code = hosted.check().code
    effect = hosted.logprob_cell(TRAIN)["verdict"]["effect"]
    moved = [each for each in effect["tokens"] if abs(each["observed"] - each["expected"]) > 1e-5]

    assert (code, effect["shift"]) == (10, pytest.approx(-3.0, abs=1e-5))
    pieces = [(token["position"], token["piece"]) for token in moved]
    assert pieces == [(3, {"id": 110, "data": "n"})]


def test_a_change_below_the_floor_is_a_note(hosted: HostedWorkspace, api: Api) -> None:
    """A hundredth of a nat on every item is significant and reported, but not a finding."""
    api.follow(Rule(effect=Shift(nats=-0.01)))

    ran = hosted.check()

    assert (ran.code, set(hosted.logprob_verdicts().values())) == (0, {"agrees"})
    assert "base--train  -0.0100 nats" in ran.out
    assert hosted.suite()["suite_test"]["verdict"] == "changed"


def test_a_noisy_service_that_has_not_changed_passes(unrecorded: HostedWorkspace) -> None:
    """One draw in ten is off by a nat or two at random, as it was while calibrating."""
    noisy = HostedModel(noise=Mixture())
    with serving(noisy, conduct=Conduct(seed=2)) as server:
        unrecorded.ask(server.base_url, items=_MANY)
        assert unrecorded.calibrate().code == 0
        ran = unrecorded.check()

    assert (ran.code, unrecorded.suite()["policies"][0]["atom"] < 1) == (0, True)


def test_quantised_weights_are_drift(unrecorded: HostedWorkspace) -> None:
    """A real model at four bits gives other numbers than it does at thirty-two."""
    with (
        tiny_weights("tiny-qwen2") as exact,
        tiny_weights("tiny-qwen2", Quantisation.Q4_0) as few,
        serving(HostedModel(weights=exact)) as server,
    ):
        unrecorded.ask(server.base_url)
        assert unrecorded.calibrate().code == 0
        server.follow(Rule(effect=Swap(weights=few)))
        ran = unrecorded.check()

    assert ran.code == 10
    assert set(unrecorded.logprob_verdicts().values()) == {"drift"}


def test_the_outlier_of_the_finding_is_drawn_again(hosted: HostedWorkspace, api: Api) -> None:
    """One draw 114 nats too low is named, replaced, and too many where none may be."""
    hosted.ask(api.base_url, suite={"max_outlier_rate": 0})
    api.follow(_OUTLIER)

    ran = hosted.check()
    cell = hosted.logprob_cell(TRAIN)

    assert (ran.code, hosted.logprob_verdicts()) == (10, {PLANE: "agrees", TRAIN: "outlier"})
    numbers = sorted(draw["number"] for draw in hosted.draws() if draw["cell"] == TRAIN)
    assert numbers == [1, 2, 3]
    assert len(cell["totals"]) == 2
    assert cell["outliers"][0]["total"] == pytest.approx(cell["center"] - 114.0, abs=1e-5)
    assert "114.0000 from the center" in ran.out


def test_outliers_that_are_allowed_are_a_note(hosted: HostedWorkspace, api: Api) -> None:
    """One of a few draws comes by chance: it is reported, and decides nothing."""
    api.follow(_OUTLIER)

    ran = hosted.check()

    assert (ran.code, len(hosted.logprob_cell(TRAIN)["outliers"])) == (0, 1)
    assert "114.0000 from the center" in ran.out


def test_too_few_items_for_their_weights_are_known_before_and_after(
    hosted: HostedWorkspace, api: Api
) -> None:
    """When recording, in a dry run, and in the report of the check: each ends inconclusive."""
    weights = {"base": "base", "must_be_usable": ["clone"]}
    hosted.ask(api.base_url, policies={"base": POLICY, "clone": POLICY}, suite={"weights": weights})
    doubt = "2 items are too few, at least 51 are needed"

    recorded = hosted.calibrate()
    planned = hosted.check("--dry-run")
    ran = hosted.check()
    (weight,) = hosted.suite()["weights"]

    assert [recorded.code, planned.code, ran.code] == [4, 4, 4]
    assert f"undetermined hosted: weights of clone: {doubt}\n" in recorded.out
    assert f"the check will be inconclusive: {doubt}\n" in planned.out
    assert (weight["problems"], weight["doubts"]) == ([], [doubt])
    assert set(hosted.logprob_verdicts().values()) == {"agrees"}


def test_a_server_without_log_probabilities_is_not_recorded(
    unrecorded: HostedWorkspace, api: Api
) -> None:
    """Placeholder values are neither a measurement nor a finding."""

    def without(body: Any) -> None:
        for row in body["choices"][0]["logprobs"]["content"]:
            row["logprob"] = 0.0

    api.follow(Rule(effect=Edit(change=without)))

    ran = unrecorded.calibrate()

    assert (ran.code, contents_of(unrecorded.snapshots)) == (4, {})
    assert "this server gives no log-probabilities: all " in ran.out


def test_an_outlier_makes_no_weight(hosted: HostedWorkspace, api: Api) -> None:
    """The weight between a policy and its clone is 1, not exp(114)."""
    weights = {"base": "base", "clones": ["clone"], "must_be_usable": ["clone"]}
    hosted.ask(
        api.base_url,
        policies={"base": POLICY, "clone": POLICY},
        items={**ITEMS, "moon": {"prompt": "Is it far?", "response": " A light second."}},
        suite={"weights": weights},
    )
    assert hosted.calibrate().code == 0
    api.follow(_OUTLIER)

    ran = hosted.check()
    (weight,) = hosted.suite()["weights"]

    assert (ran.code, weight["problems"], weight["target"]) == (0, [], "clone")
    assert weight["mean_weight"] == pytest.approx(1.0, abs=1e-4)
