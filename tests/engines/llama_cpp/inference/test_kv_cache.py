"""Every type of a quantized KV cache generates, on a model whose heads are whole blocks."""

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.protocol import Method
from tests.fakes.driven_engine import load_params
from tests.fakes.odd_models import with_wide_heads

if TYPE_CHECKING:
    from tests.fakes.driven_engine import DrivenEngine

QUANTIZED = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


@pytest.fixture(name="model", scope="module")
def _model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_wide_heads(tmp_path_factory.mktemp("model") / "wide.gguf")


@pytest.mark.parametrize("kind", QUANTIZED)
def test_a_quantized_cache_is_a_numeric_mode_of_its_own(
    idle_engine: "DrivenEngine", model: Path, kind: str
) -> None:
    """Of K, of V and of both; a repetition equals the first run."""
    found = [_trace(idle_engine, model, "f16", "f16")]
    for k, v in ((kind, "f16"), ("f16", kind), (kind, kind)):
        found.append(_trace(idle_engine, model, k, v))
        assert found[-1] == _trace(idle_engine, model, k, v)

    assert all(one != other for one, other in combinations(found, 2))


@pytest.mark.parametrize("kind", QUANTIZED)
def test_k_alone_may_be_quantized_without_flash_attention(
    idle_engine: "DrivenEngine", model: Path, kind: str
) -> None:
    """The log-probabilities are near those of f16, as its blocks allow."""
    quantized, plain = (
        _trace(idle_engine, model, k, "f16", flash_attention=False) for k in (kind, "f16")
    )

    assert quantized != plain
    assert quantized[0]["logprob"] == pytest.approx(plain[0]["logprob"], abs=0.6)


def _trace(
    engine: "DrivenEngine", model: Path, k: str, v: str, *, flash_attention: bool = True
) -> Any:
    params = load_params(model, kv_type_k=k, kv_type_v=v, flash_attention=flash_attention)
    del params["settings"]["kv_type"]
    facts = engine.ask(Method.LOAD, **params)["facts"]
    same = {"setting.kv_type": k} if k == v else {"setting.kv_type_k": k, "setting.kv_type_v": v}
    assert same.items() <= facts.items()
    return engine.generate(temperature=0, trace=True)["trace"]
