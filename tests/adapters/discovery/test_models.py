"""GGUF files of a folder and of caches, and what is left out."""

import json
import os
from itertools import count
from pathlib import Path

import pytest

from repro_gate.adapters.discovery.models import Surroundings, find_models, model_of
from repro_gate.core.start.machine import Place
from repro_gate.errors import InputInvalid
from repro_gate.tiny_models.maker import make
from repro_gate.tiny_models.recipes import RECIPES
from tests.fakes.odd_models import tiny_with

_DIGEST = "ab" * 32
_HUB = "hub/models--owner--repo/snapshots/main"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole model, to be copied."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    make(RECIPES["tiny-qwen2"], path)
    return path


@pytest.fixture
def where(tmp_path: Path) -> Surroundings:
    """Return an empty folder, home and cache."""
    for name in ("work", "home", "cache"):
        (tmp_path / name).mkdir()
    return Surroundings(
        folder=tmp_path / "work", home=tmp_path / "home", cache=tmp_path / "cache", environ={}
    )


def _put(tiny: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny.read_bytes())
    return path


def _places(where: Surroundings) -> list[tuple[Place, str, str | None]]:
    models, skipped = find_models(where)
    assert skipped == ()
    return [(model.place, model.path.name, model.source) for model in models]


def test_every_place_is_searched_the_nearest_first(tiny: Path, where: Surroundings) -> None:
    """With what fetches the file elsewhere, where that is known."""
    home = where.home
    _put(tiny, where.folder / "models/a.GGUF")
    _put(tiny, where.cache / "models/hf/owner/repo@v1/b.gguf")
    _put(tiny, home / ".cache/huggingface" / _HUB / "q/c.gguf")
    _put(tiny, home / ".cache/huggingface/hub/odd/d.gguf")
    _put(tiny, home / ".cache/llama.cpp/e.gguf")
    _put(tiny, home / ".lmstudio/models/owner/repo/f.gguf")

    assert _places(where) == [
        (Place.FOLDER, "a.GGUF", None),
        (Place.OWN_CACHE, "b.gguf", "hf:owner/repo@v1/b.gguf"),
        (Place.HUGGING_FACE, "d.gguf", None),
        (Place.HUGGING_FACE, "c.gguf", "hf:owner/repo@main/q/c.gguf"),
        (Place.LLAMA_CPP, "e.gguf", None),
        (Place.LM_STUDIO, "f.gguf", None),
    ]


def test_variables_move_the_caches(tiny: Path, where: Surroundings, tmp_path: Path) -> None:
    """As they do for the programs that own them."""
    _put(tiny, tmp_path / "hf" / _HUB / "c.gguf")
    _put(tiny, tmp_path / "llama/e.gguf")
    environ = {"HF_HOME": str(tmp_path / "hf"), "LLAMA_CACHE": str(tmp_path / "llama")}
    moved = Surroundings(folder=where.folder, home=where.home, cache=where.cache, environ=environ)

    assert [place for place, *_ in _places(moved)] == [Place.HUGGING_FACE, Place.LLAMA_CPP]


def test_a_model_of_ollama_is_named_by_its_manifest(tiny: Path, where: Surroundings) -> None:
    """A broken manifest is passed over."""
    root = where.home / ".ollama/models"
    blob = _put(tiny, root / f"blobs/sha256-{_DIGEST}")
    library = root / "manifests/registry.ollama.ai/library/small"
    library.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{_DIGEST}"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"},
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{_DIGEST}"},
    ]
    (library / "latest").write_text(json.dumps({"layers": layers}))
    (library / "broken").write_text("{")

    (model,), _ = find_models(where)

    assert (model.path, model.title, model.place) == (blob, "small:latest", Place.OLLAMA)


def test_links_are_followed_only_inside(tiny: Path, where: Surroundings, tmp_path: Path) -> None:
    """A cache of Hugging Face has links; one that leads elsewhere is not looked at."""
    hub = where.home / ".cache/huggingface"
    blob = _put(tiny, hub / "hub/models--owner--repo/blobs/00")
    inside = hub / _HUB / "in.gguf"
    inside.parent.mkdir(parents=True)
    inside.symlink_to(blob)
    outside = _put(tiny, tmp_path / "elsewhere/out.gguf")
    (where.folder / "out.gguf").symlink_to(outside)
    (where.folder / "folder").symlink_to(outside.parent)
    (where.folder / "loop").symlink_to(where.folder)

    models, skipped = find_models(where)

    assert [model.path.name for model in models] == ["in.gguf"]
    assert skipped == ("out.gguf: a link to another folder; to use it: repro-gate init FILE",)


def test_hidden_and_built_folders_are_not_searched(tiny: Path, where: Surroundings) -> None:
    """Nor is what lies too deep."""
    for name in (".git/a.gguf", "node_modules/b.gguf", "venv/c.gguf", "1/2/3/4/d.gguf"):
        _put(tiny, where.folder / name)

    assert _places(where) == []


def test_one_file_under_two_names_is_found_once(tiny: Path, where: Surroundings) -> None:
    """A link is no second model."""
    file = _put(tiny, where.folder / "a.gguf")
    (where.folder / "b.gguf").symlink_to(file)

    assert [name for _, name, _ in _places(where)] == ["a.gguf"]


def test_what_generates_no_text_is_left_out_with_the_reason(where: Surroundings) -> None:
    """Adapters, parts for images, and files that only have the name."""
    tiny_with(where.folder / "lora.gguf", {"general.type": "adapter"})
    (where.folder / "text.gguf").write_text("nothing")

    models, skipped = find_models(where)

    assert (models, len(skipped)) == ((), 2)
    assert "found this is an adapter (LoRA)" in skipped[0]
    assert "expected a GGUF file" in skipped[1]


def test_the_search_ends_in_time(tiny: Path, where: Surroundings) -> None:
    """A slow disk must not stop a beginner."""
    for number in range(3):
        _put(tiny, where.folder / f"{number}.gguf")
    seconds = count()

    models, skipped = find_models(where, clock=lambda: next(seconds))

    assert len(models) < 3
    assert skipped in {(), ("further files: the search ended at its limit",)}


def test_the_search_ends_after_many_files(tiny: Path, where: Surroundings) -> None:
    """With a note."""
    first = _put(tiny, where.folder / "0.gguf")
    for number in range(1, 60):
        os.link(first, where.folder / f"{number}.gguf")

    models, skipped = find_models(where)

    assert (len(models), skipped) == (40, ("further files: the search ended at its limit",))


def test_a_split_model_is_one(tiny: Path, where: Surroundings) -> None:
    """Named by its first part, and refused if one is missing."""
    data = tiny.read_bytes()
    first = where.folder / "x-00001-of-00002.gguf"
    first.write_bytes(data)
    with pytest.raises(InputInvalid, match="found there is no file"):
        model_of(first, Place.GIVEN)
    second = where.folder / "x-00002-of-00002.gguf"
    second.write_bytes(data)

    assert model_of(second, Place.GIVEN).path == first
    assert model_of(first, Place.GIVEN).size == 2 * len(data)
    assert [name for _, name, _ in _places(where)] == [first.name]


def test_linked_parts_are_refused(tiny: Path, where: Surroundings) -> None:
    """As by the engine, which reads them one after the other."""
    file = _put(tiny, where.folder / "file")
    for number in (1, 2):
        (where.folder / f"x-0000{number}-of-00002.gguf").symlink_to(file)

    with pytest.raises(InputInvalid, match="symbolic links, which an engine refuses"):
        model_of(where.folder / "x-00001-of-00002.gguf", Place.GIVEN)
