"""A model file other than the pinned one, and what to do about it."""

from dataclasses import replace

import pytest

from repro_gate.core.engines import EngineKind, ModelSpec, Setting, another_file
from tests.fakes.values import engine_spec_of, lora_of, model_spec_of

_REPIN = "repro-gate update-snapshots --repin m"
_EDIT = "set the sha256 of models.m in the matrix to 22, then repro-gate update-snapshots"


@pytest.mark.parametrize(("sha256", "accept"), [(None, _REPIN), ("1" * 64, _EDIT)])
def test_another_file_is_accepted_where_the_file_is_pinned(sha256: str | None, accept: str) -> None:
    """In the matrix or in the snapshots."""
    model = ModelSpec(name="m", engine=engine_spec_of(), source="m.gguf", sha256=sha256)

    error = another_file(model, expected="11", found="22")

    assert error.reason == "the file of m has the sha256 22, but 11 is pinned"
    assert error.remedy == f"restore the pinned file; if the new one is intended: {accept}"


def test_another_adapter_is_accepted_where_it_is_pinned() -> None:
    """With its place in the matrix, or together with its model."""
    free, pinned = lora_of("m", number=2), lora_of("m", number=2, sha256="1" * 64)
    by_repin, by_edit = (another_file(each, expected="11", found="22") for each in (free, pinned))

    assert by_repin.reason == "the file of m/lora/2 has the sha256 22, but 11 is pinned"
    assert str(by_repin.remedy).endswith("--repin m")
    assert "set the sha256 of models.m.lora[1] in the matrix to 22" in str(by_edit.remedy)


def test_the_files_of_a_model_differ_in_every_name() -> None:
    """Of their pins, facts and places."""
    lora = tuple(lora_of(number=number) for number in (1, 2))
    files = replace(model_spec_of(), lora=lora).files

    assert [file.key for file in files] == ["tiny", "tiny/lora/1", "tiny/lora/2"]
    assert [file.sha256_fact for file in files] == [
        *("model.sha256", "model.lora.1.sha256", "model.lora.2.sha256"),
    ]


def test_an_adapter_without_effect_is_refused() -> None:
    """llama.cpp leaves out one with the scale 0."""
    with pytest.raises(ValueError, match="must not be 0"):
        replace(lora_of(), scale=0.0)


def test_a_command_is_defined_by_its_words_and_settings() -> None:
    """Engines of this package report their own."""
    built_in = replace(engine_spec_of(), settings={"n": 1})
    other = replace(built_in, kind=EngineKind.COMMAND, command=("a b", "c"))

    served = replace(built_in, kind=EngineKind.SERVED)
    assert built_in.definition == served.definition == {}
    assert other.definition == {"matrix.command": "'a b' c", "matrix.settings.n": "1"}


def test_a_load_may_have_to_wait_for_a_server() -> None:
    """Longer than any other request."""
    built_in = replace(engine_spec_of(), timeout_s=5)
    serve: dict[str, Setting] = {
        "dialect": "vllm",
        "serve": ["vllm", "{model}", "{port}"],
        "ready_timeout_s": 90,
    }
    served = replace(built_in, kind=EngineKind.SERVED, settings=serve)

    assert (built_in.loading_s, served.loading_s) == (0, 90)


def test_a_running_server_is_somewhere_else() -> None:
    """It receives prompts, as hosted APIs do; a started one does not leave the machine."""
    there: dict[str, Setting] = {"dialect": "vllm", "base_url": "http://A:80/x", "profile": "p"}
    built_in = engine_spec_of()
    served = replace(built_in, kind=EngineKind.SERVED, settings=there)

    assert (built_in.host, built_in.place) == (None, "on cpu")
    assert (served.host, served.place) == ("a:80", "at a:80")
    assert replace(served, settings={}).host is None


def test_a_model_without_files_has_nothing_to_pin() -> None:
    """No digest, and no adapters."""
    model = replace(model_spec_of(), source="", sha256=None)

    assert model.files == ()
    for impossible in ({"sha256": "1" * 64}, {"lora": (lora_of(),)}):
        with pytest.raises(ValueError, match="has no source"):
            replace(model, **impossible)
