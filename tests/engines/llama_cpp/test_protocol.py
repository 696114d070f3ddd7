"""What the built-in engine adds to the protocol: a model that is freed, and a library that logs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import ModelMaker
    from tests.fakes.driven_engine import DrivenEngine


def test_an_engine_with_a_model_exits_cleanly(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """The model is freed without output."""
    fresh_engine.load(tiny_model("tiny-qwen2").path)
    fresh_engine.generate()
    assert fresh_engine.end() == (0, b"")
    assert fresh_engine.stderr() == ""


def test_warnings_of_llama_cpp_are_on_stderr_only(
    fresh_engine: "DrivenEngine", tiny_model: "ModelMaker"
) -> None:
    """Stdout has nothing but answers."""
    fresh_engine.load(tiny_model("tiny-qwen2").path, n_ctx=8192)
    fresh_engine.generate()
    assert fresh_engine.end() == (0, b"")
    assert "n_ctx_seq (8192) > n_ctx_train (4096)" in fresh_engine.stderr()
