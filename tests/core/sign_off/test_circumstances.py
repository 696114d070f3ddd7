"""What a report was measured with is compared with the commit."""

from dataclasses import replace
from typing import Any

import pytest

from repro_gate.core.engines import EngineKind
from repro_gate.core.logprobs.policy import LogprobSuite, WeightPlan
from repro_gate.core.report import GateReport
from repro_gate.core.sign_off.circumstances import circumstances_of
from repro_gate.core.sign_off.measured import Checkout
from repro_gate.core.sign_off.statement import Entry, Kind
from repro_gate.core.tokens.verdicts import Orphan
from tests.fakes.logprob_reports import weight_report_of
from tests.fakes.releases import (
    CAPITAL,
    FOX,
    HAIKU,
    baseline_of,
    checkout_of,
    drawn,
    file_of,
    matched,
    report_of,
    shifted,
)
from tests.fakes.values import PROFILE, golden_of, lora_of, model_spec_of, provenance_of

USUAL = checkout_of()
TINY = USUAL.matrix.models["tiny"]


def found_in(report: GateReport, checkout: Checkout = USUAL) -> list[str]:
    """Return each refusal as one line; every one is about the report."""
    found = list(circumstances_of(file_of(report), checkout))
    assert all(one.about.startswith("report.json: ") for one in found)
    return [
        f"{one.about.removeprefix('report.json: ')}: {one.expected}, not {one.found}"
        for one in found
    ]


def with_matrix(**changes: Any) -> Checkout:
    """Return a commit whose matrix differs."""
    return replace(USUAL, matrix=replace(USUAL.matrix, **changes))


def matrix_at(path: str) -> Checkout:
    """Return a commit whose matrix file is there."""
    return checkout_of(entries=(Entry(kind=Kind.MATRIX, name=path, digest={"sha256": "a1" * 32}),))


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ((), "repro-gate.toml"),
        ((), "gate/repro-gate.toml"),
        (("--config", "gate/repro-gate.toml", "--device", "cpu"), "gate/repro-gate.toml"),
        (("--config", "../repro-gate.toml"), "repro-gate.toml"),
        (("--config", "/srv/model/gate/all.toml"), "gate/all.toml"),
    ],
)
def test_the_matrix_file_is_the_same_from_every_folder(options: tuple[str, ...], path: str) -> None:
    """A report has the option of its check only."""
    assert found_in(report_of(repeat_with=options), matrix_at(path)) == []


@pytest.mark.parametrize(
    ("options", "path", "shown"),
    [
        (("--config", "other.toml"), "repro-gate.toml", "other.toml"),
        (("--device", "cpu", "--config", "b/all.toml"), "a/all.toml", "b/all.toml"),
        ((), "all.toml", "repro-gate.toml"),
        (("--config", "/"), "all.toml", "/"),
    ],
)
def test_a_check_with_another_matrix_file_is_refused(
    options: tuple[str, ...], path: str, shown: str
) -> None:
    """It may plan the same cells with another engine."""
    assert found_in(report_of(repeat_with=options), matrix_at(path)) == [
        f"matrix file: {path}, not {shown}"
    ]


def test_settings_are_those_of_the_matrix() -> None:
    """Of a built-in engine, whose facts have them; those of a program are its own words."""
    settings = {"threads": 1, "flash_attention": False, "n_ctx": 200}
    engine = replace(TINY.engine, settings=settings)
    checkout = with_matrix(models={"tiny": replace(TINY, engine=engine)})
    facts = {**provenance_of("tiny"), "setting.n_ctx": "256", "setting.threads": "1"}
    good, bad = (
        report_of(provenances=({**facts, "setting.flash_attention": value},))
        for value in ("false", "true")
    )

    assert found_in(good, checkout) == []
    assert found_in(bad, checkout) == ["tiny: flash_attention: false, as in the matrix, not true"]
    program = replace(engine, kind=EngineKind.COMMAND, command=("engine",))
    assert found_in(bad, with_matrix(models={"tiny": replace(TINY, engine=program)})) == []


@pytest.mark.parametrize(
    ("settings", "facts", "refused"),
    [
        ({"kv_type": "f16"}, {"kv_type": "f16", "rope": "model", "repack": "true"}, []),
        ({"kv_type": "f16"}, {"kv_type_k": "q8_0", "kv_type_v": "f16"}, ["kv_type_k", "kv_type_v"]),
        ({"kv_type_k": "q8_0", "kv_type_v": "f16"}, {"kv_type": "f16"}, ["kv_type"]),
        ({"kv_type_k": "f16", "kv_type_v": "f16"}, {"kv_type": "f16"}, []),
        ({}, {"rope_freq_base": "500"}, ["rope_freq_base"]),
        ({"rope_freq_base": 500}, {"rope": "model"}, ["rope"]),
        ({"rope_freq_base": 500}, {"rope_freq_base": "500"}, []),
        ({"threads": 2}, {"threads": "2", "threads_batch": "4"}, ["threads_batch"]),
        ({}, {"swa_full": "false"}, ["swa_full"]),
        ({}, {"offload_kqv": "false", "split_mode": "none"}, []),
        ({"offload_kqv": True}, {"offload_kqv": "false"}, ["offload_kqv"]),
        ({}, {"device": "CUDA0", "op_offload": "false"}, ["op_offload"]),
        ({"op_offload": False}, {"device": "CUDA0", "op_offload": "false"}, []),
        ({}, {"device": "CUDA0"}, []),
        ({}, {"device": "CPU", "op_offload": "false"}, []),
        ({"load_mode": "mlock", "contexts": 2}, {"load_mode": "mmap"}, []),
    ],
)
def test_every_setting_that_changes_results_is_compared(
    settings: dict[str, Any], facts: dict[str, str], refused: list[str]
) -> None:
    """Also where the matrix leaves it to its default, unless the device decides."""
    engine = replace(TINY.engine, settings=settings)
    shown = {f"setting.{name}": value for name, value in facts.items()}
    report = report_of(provenances=({**provenance_of("tiny"), **shown},))
    found = found_in(report, with_matrix(models={"tiny": replace(TINY, engine=engine)}))

    assert [line.split(": ")[1] for line in found] == refused


def test_the_list_of_models_has_the_pinned_digests() -> None:
    """It is what the statement and the page show; a model without a pin is refused elsewhere."""
    pinned = str(TINY.sha256)
    other = {"tiny": {"model.sha256": "00" * 32}}

    assert found_in(report_of(models=other)) == [f"the model tiny: {pinned}, not {'00' * 32}"]
    assert found_in(report_of(models={"tiny": {}})) == [f"the model tiny: {pinned}, not none"]
    assert found_in(report_of(models=other), with_matrix(models={"tiny": model_spec_of()})) == []


def test_the_list_of_models_has_the_pinned_digests_of_adapters() -> None:
    """Wherever log-probabilities were scored too, of which no cell has a provenance."""
    model = replace(TINY, lora=(lora_of(sha256="1" * 64), lora_of(number=2)))
    facts = {"model.sha256": str(TINY.sha256), "model.lora.1.sha256": "2" * 64}

    assert found_in(
        report_of(models={"tiny": facts}, cells=()), with_matrix(models={"tiny": model})
    ) == [f"the model tiny/lora/1: {'1' * 64}, not {'2' * 64}"]


def test_a_model_that_the_matrix_does_not_have_was_not_measured() -> None:
    """Nor does it have a digest to compare."""
    gone = {"gone": {"model.sha256": "00" * 32}}

    assert found_in(report_of(models=gone)) == [f"the model gone: no such model, not {'00' * 32}"]
    assert found_in(report_of(), with_matrix(models={})) == [
        f"the model tiny: no such model, not {TINY.sha256}"
    ]


def test_orphans_of_the_commit_are_in_the_report() -> None:
    """On the profiles that it is about."""
    checkout = checkout_of(
        goldens={**USUAL.goldens, (PROFILE, "gone"): golden_of(FOX), ("gpu", "x"): golden_of(FOX)},
        baselines={**USUAL.baselines, ("fireworks", "old"): baseline_of()},
    )
    snapshots = "snapshots: no snapshot that the matrix does not use, not"
    known = Orphan(id="gone", origin=PROFILE)
    part = replace(drawn(), orphans=(Orphan(id="old", origin="fireworks"),))

    assert found_in(report_of(), checkout) == [
        f"{snapshots} {PROFILE}/gone",
        f"{snapshots} fireworks/old",
    ]
    # Which the decision refuses.
    assert found_in(report_of(orphans=(known,), logprobs=(part,)), checkout) == []
    assert found_in(report_of(logprobs=()), checkout) == [f"{snapshots} {PROFILE}/gone"]
    alone = replace(report_of(), cells=())
    assert found_in(alone, checkout) == [f"{snapshots} fireworks/old"]


def test_every_measured_policy_has_a_control() -> None:
    """Whatever the report lists as policies."""
    part = replace(drawn(), controls=(), policies=())

    assert found_in(report_of(logprobs=(part,))) == [
        "hosted: a control of every policy, not none of base"
    ]


def test_weights_of_the_matrix_are_in_the_report() -> None:
    """Those of a clone as a control."""
    plan = WeightPlan(base="base", clones=("clone",), must_be_usable=("new",))
    suite = LogprobSuite(name="hosted", cells=(CAPITAL,), weights=plan)
    checkout = with_matrix(logprob_suites={"hosted": suite})
    clone = weight_report_of()
    new = weight_report_of(target="new", is_control=False, must_be_usable=True)
    whole, part = (replace(drawn(), weights=some) for some in ((clone, new), (clone,)))

    assert found_in(report_of(logprobs=(whole,)), checkout) == []
    assert found_in(report_of(logprobs=(part,)), checkout) == [
        "hosted: the weights of the matrix, not none of new"
    ]


@pytest.mark.parametrize(
    ("changes", "baseline", "expected"),
    [
        pytest.param(
            {"totals": (-42.0, 1000.0)}, {}, "draws within 8 nats of -42, not others", id="far"
        ),
        pytest.param(
            {},
            {"definition": {**CAPITAL.definition, "response": "other"}},
            "a baseline of this definition, not one of another",
            id="definition",
        ),
    ],
)
def test_agreement_follows_from_the_baseline(changes: Any, baseline: Any, expected: str) -> None:
    """Of the same definition, and with draws that are no outliers."""
    checkout = checkout_of(baselines={("fireworks", CAPITAL.id): baseline_of(**baseline)})

    assert found_in(report_of(logprobs=(drawn(**changes),)), checkout) == [
        f"hosted/{CAPITAL.id}: {expected}"
    ]


def test_a_baseline_has_as_many_draws_as_the_matrix_wants() -> None:
    """With fewer, no shift is significant."""
    usual = baseline_of()
    few = replace(usual, draws=usual.draws[:2], facts=usual.facts[:2])
    checkout = checkout_of(baselines={("fireworks", CAPITAL.id): few})

    assert found_in(report_of(), checkout) == [
        f"hosted/{CAPITAL.id}: a baseline of 10 draws, not 2"
    ]


def test_drift_and_unknown_suites_are_refused_elsewhere() -> None:
    """Here is nothing to compare them with."""
    far = replace(shifted(), cells=(replace(shifted().cells[0], totals=(1000.0,)),))

    assert found_in(report_of(logprobs=(far,))) == []
    assert found_in(report_of(logprobs=(replace(drawn(), suite="gone"),))) == []
    assert found_in(report_of(matched(HAIKU, provenance=None), matched(FOX))) == []
