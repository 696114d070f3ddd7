"""A split model is loaded from exactly the named parts, or refused with the part at fault."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from gguf import GGUFValueType

from repro_gate.protocol import Method
from tests.fakes.split_models import split

if TYPE_CHECKING:
    from tests.engines.llama_cpp.conftest import LoadParams, ModelMaker
    from tests.fakes.driven_engine import DrivenEngine

Damage: TypeAlias = Callable[[bytes], bytes]


@pytest.fixture(name="params")
def _params(engine_load_params: "LoadParams") -> Callable[..., Any]:
    """Return a function that makes the request to load parts."""

    def load(*parts: Path) -> dict[str, Any]:
        return engine_load_params(parts[0]) | {"parts": [str(part) for part in parts]}

    return load


def test_the_tokens_of_a_split_model_are_those_of_the_whole_one(
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    params: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """With their evidence; the digest and the size are those of all parts."""
    whole = tiny_model("tiny-qwen2").path
    parts = split(whole, tmp_path)
    fresh_engine.load(whole)
    expected = fresh_engine.generate(trace=True)

    answer = fresh_engine.ask(Method.LOAD, **params(*parts))

    joined = b"".join(part.read_bytes() for part in parts)
    assert (answer["sha256"], answer["size"]) == (hashlib.sha256(joined).hexdigest(), len(joined))
    assert answer["facts"]["model.parts"] == "3"
    assert [state["size"] for state in answer["file"]] == [part.stat().st_size for part in parts]
    assert fresh_engine.generate(trace=True) == expected


@pytest.mark.parametrize(
    ("order", "at_fault", "message"),
    [
        ((0,), 0, "a part of a split model (split.count = 3); put all parts"),
        ((1,), 1, "a part of a split model (split.count = 3); put all parts"),
        (
            (0, 1),
            0,
            "expected part 1 of 2 of a split model, found split.no = 0 and split",
        ),
        ((0, 2, 1), 2, "expected part 2 of 3 of a split model, found split.no = 2 and split"),
        ((1, 0, 2), 1, "expected part 1 of 3 of a split model, found split.no = 1 and split"),
    ],
)
def test_the_parts_are_all_named_in_their_order(
    *,
    idle_engine: "DrivenEngine",
    engine_load_params: "LoadParams",
    params: Callable[..., Any],
    tiny_model: "ModelMaker",
    tmp_path: Path,
    order: tuple[int, ...],
    at_fault: int,
    message: str,
) -> None:
    """The message has the part and its place."""
    parts = split(tiny_model("tiny-qwen2").path, tmp_path)
    named = [parts[number] for number in order]
    request = params(*named) if named[1:] else engine_load_params(named[0])

    kind, found = idle_engine.refusal(Method.LOAD, **request)

    assert kind == "model_invalid"
    assert found.startswith(f"{parts[at_fault]}: {message}")


@pytest.mark.parametrize(
    ("changes", "at_fault", "message"),
    [
        ({1: {"split.count": 4}}, 1, "split.no = 1 and split.count = 4"),
        ({0: {"split.count": 0}}, 0, "split.no = 0 and split.count = 0"),
        ({2: {"split.no": 1}}, 2, "split.no = 1 and split.count = 3"),
    ],
)
def test_a_part_that_declares_another_place_is_refused(
    *,
    idle_engine: "DrivenEngine",
    params: Callable[..., Any],
    tiny_model: "ModelMaker",
    tmp_path: Path,
    changes: Any,
    at_fault: int,
    message: str,
) -> None:
    """llama.cpp itself does not compare the counts of the later parts."""
    parts = split(tiny_model("tiny-qwen2").path, tmp_path, changes=changes)

    _, found = idle_engine.refusal(Method.LOAD, **params(*parts))

    assert found.startswith(f"{parts[at_fault]}: ")
    assert found.endswith(message)


def test_a_number_of_another_type_does_not_end_the_engine(
    idle_engine: "DrivenEngine",
    params: Callable[..., Any],
    tiny_model: "ModelMaker",
    tmp_path: Path,
) -> None:
    """llama.cpp would abort at it in a later part."""
    parts = split(tiny_model("tiny-qwen2").path, tmp_path, kind=GGUFValueType.UINT32)

    kind, message = idle_engine.refusal(Method.LOAD, **params(*parts))

    assert kind == "model_invalid"
    assert message.endswith("found split.no = a value of another type and split.count = 3")


def test_a_whole_model_under_the_name_of_a_part_is_refused(
    idle_engine: "DrivenEngine",
    params: Callable[..., Any],
    tiny_model: "ModelMaker",
    tmp_path: Path,
) -> None:
    """Its own metadata names no parts."""
    whole = tiny_model("tiny-qwen2").path
    parts = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        part.write_bytes(whole.read_bytes())

    _, message = idle_engine.refusal(Method.LOAD, **params(*parts))

    assert message.endswith(
        "part 1 of 2 of a split model, found split.no = none and split.count = none"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "not a GGUF file"),
        (lambda data: data[:60], "the file ends or is damaged within its header"),
        (lambda data: data[:-100], "so it is truncated"),
    ],
    ids=["lfs-pointer", "header", "truncated"],
)
def test_a_damaged_part_is_refused_with_its_fault(
    *,
    idle_engine: "DrivenEngine",
    params: Callable[..., Any],
    tiny_model: "ModelMaker",
    tmp_path: Path,
    damage: Damage,
    message: str,
) -> None:
    """llama.cpp names the part without the reason, or a tensor without its part."""
    parts = split(tiny_model("tiny-qwen2").path, tmp_path)
    parts[1].write_bytes(damage(parts[1].read_bytes()))

    kind, found = idle_engine.refusal(Method.LOAD, **params(*parts))

    assert kind == "model_invalid"
    assert found.startswith(f"{parts[1]}: ")
    assert message in found


def test_a_part_of_another_model_is_a_mismatch(
    fresh_engine: "DrivenEngine",
    tiny_model: "ModelMaker",
    params: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """llama.cpp would load it, as its shapes fit."""
    whole = tiny_model("tiny-qwen2").path
    other = tmp_path / "other.gguf"
    other.write_bytes(whole.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    parts = split(whole, tmp_path)
    pinned = fresh_engine.ask(Method.LOAD, **params(*parts))["sha256"]
    others = split(other, tmp_path, name="other")
    at = [a.read_bytes() == b.read_bytes() for a, b in zip(parts, others, strict=True)].index(False)
    mixed = params(*parts[:at], others[at], *parts[at + 1 :])

    assert fresh_engine.ask(Method.LOAD, **mixed)["sha256"] != pinned
    kind, _ = fresh_engine.refusal(Method.LOAD, **mixed | {"sha256": pinned})
    assert kind == "digest_mismatch"


@pytest.mark.parametrize(
    "parts",
    [[], ["/a"], ["/b", "/a"], ["/a", "/a"], ["/a", "b"], ["/a", 1], "/a", ["/a", "/b\0"]],
)
def test_invalid_parts_are_a_bad_request(
    idle_engine: "DrivenEngine", engine_load_params: "LoadParams", parts: Any
) -> None:
    """At least two absolute paths, each once, and `path` comes first."""
    params = engine_load_params(Path("/a")) | {"parts": parts}
    idle_engine.send(Method.LOAD, params)

    error = idle_engine.receive("error_answer")["error"]
    assert error["kind"] == "bad_request"
    assert error["message"].startswith("load.parts")
