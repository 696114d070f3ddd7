"""Model sources and model files."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.models.files import CachedModels, sha256_of
from repro_gate.core.engines import BUILT_IN_MODELS, EngineKind, EngineSpec, ModelSpec
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import ModelFile
from repro_gate.tiny_models.recipes import RECIPES
from tests.fakes.values import lora_of, model_spec_of

RECIPE = "tiny-phi3"
BIG = "qwen2.5-0.5b-shape"


def models_in(folder: Path, pins: Mapping[str, str] | None = None) -> CachedModels:
    """Return the models of a matrix in a folder."""
    return CachedModels(beside=folder / "here", cache=folder / "cache", pins=pins or {})


def model_from(source: str, *, sha256: str | None = None) -> ModelSpec:
    """Return a model with a source."""
    return replace(model_spec_of(sha256=sha256), source=source)


def engine_of(model: ModelSpec, kind: EngineKind) -> EngineSpec:
    """Return the engine of a model as one of another kind."""
    command = () if kind.is_own else ("engine",)
    return replace(model.engine, kind=kind, command=command)


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make a built-in model once, and return the bytes of its file."""
    models = models_in(tmp_path_factory.mktemp("made"))
    path = models.locate(model_from(f"builtin:{RECIPE}")).path
    assert path is not None
    return path.read_bytes()


@pytest.fixture(name="digest", scope="module")
def _digest(made: bytes) -> str:
    """Return the digest of the built-in model."""
    return hashlib.sha256(made).hexdigest()


def test_a_built_in_model_is_made_on_demand(tmp_path: Path, made: bytes, digest: str) -> None:
    """Its bytes are those that the matrix pins."""
    file = models_in(tmp_path).locate(model_from(f"builtin:{RECIPE}", sha256=digest))

    path = tmp_path / "cache" / "builtin" / f"{RECIPE}-{digest[:16]}.gguf"
    assert file == ModelFile(path=path, sha256=digest)
    assert path.read_bytes() == made


def test_a_built_in_model_is_made_once(tmp_path: Path, made: bytes, digest: str) -> None:
    """A check must not write half a megabyte each time."""
    model = model_from(f"builtin:{RECIPE}", sha256=digest)
    path = models_in(tmp_path).path_of(model)
    path.parent.mkdir(parents=True)
    path.write_bytes(made)
    before = path.stat()

    models_in(tmp_path).locate(model)

    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("change", [bytes.upper, lambda made: made[:-1]])
def test_a_corrupt_built_in_model_is_made_again(
    tmp_path: Path, made: bytes, digest: str, change: Callable[[bytes], bytes]
) -> None:
    """A truncated or changed file in the cache is replaced."""
    model = model_from(f"builtin:{RECIPE}", sha256=digest)
    path = models_in(tmp_path).path_of(model)
    path.parent.mkdir(parents=True)
    path.write_bytes(change(made))

    models_in(tmp_path).locate(model)

    assert path.read_bytes() == made


def test_a_built_in_model_with_another_digest_is_unavailable(tmp_path: Path, digest: str) -> None:
    """The message has the digest of this version and the pinned one."""
    wanted = "0a" * 32

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from(f"builtin:{RECIPE}", sha256=wanted))

    assert str(caught.value) == (
        f"this repro-gate makes {RECIPE} with the sha256 {digest}, but the matrix wants {wanted}"
    )


def test_an_unknown_recipe_is_unavailable(tmp_path: Path) -> None:
    """The message lists the recipes."""
    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from("builtin:tiny-gpt"))

    assert str(caught.value) == (
        "the built-in model tiny-gpt could not be made: python -m repro_gate.tiny_models: error: "
        "unknown model 'tiny-gpt': expected one of tiny-qwen2, tiny-phi3, qwen2.5-0.5b-shape"
    )


@pytest.mark.parametrize(
    "source", ["builtin:../../x", "builtin:--help", "builtin:--list", "builtin:", "builtin:a/b"]
)
def test_an_invalid_recipe_name_is_refused(tmp_path: Path, source: str) -> None:
    """It would become a path, or an option of the program that makes models."""
    with pytest.raises(MeasurementUnavailable, match=r"^the source of tiny: a name must be"):
        models_in(tmp_path).locate(model_from(source))

    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A file in place of the cache is reported in one line."""
    (tmp_path / "cache").write_bytes(b"GGUF")

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from(f"builtin:{RECIPE}"))

    assert str(caught.value) == (
        f"tiny cannot be written to {tmp_path}/cache/builtin: Not a directory"
    )


@pytest.mark.parametrize("source", ["models/my.gguf", "../here/models/./my.gguf"])
def test_a_path_is_relative_to_the_matrix(tmp_path: Path, source: str) -> None:
    """Not to the current folder."""
    file = tmp_path / "here" / "models" / "my.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")

    assert models_in(tmp_path).locate(model_from(source)) == ModelFile(path=file, sha256=None)


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    """Models may be in a shared folder."""
    (tmp_path / "my.gguf").write_bytes(b"GGUF")

    file = models_in(tmp_path).locate(model_from(str(tmp_path / "my.gguf")))

    assert file.path == tmp_path / "my.gguf"


@pytest.mark.parametrize("source", ["no.gguf", "no/folder.gguf"])
def test_a_path_without_a_file_is_unavailable(tmp_path: Path, source: str) -> None:
    """The remedy names the place in the matrix."""
    (tmp_path / "here").mkdir()

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from(source))

    path = (tmp_path / "here" / source).resolve()
    assert (caught.value.reason, caught.value.remedy) == (
        f"model tiny is missing: there is no file {path}",
        "put the file there, or correct the source of models.tiny in the matrix",
    )


def test_a_check_downloads_no_model(tmp_path: Path) -> None:
    """The remedy is the command that does."""
    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from("hf:owner/repo/sub/my.gguf"))

    path = tmp_path / "cache" / "hf" / "owner" / "repo" / "sub" / "my.gguf"
    assert (caught.value.reason, caught.value.remedy) == (
        f"model tiny is missing: there is no file {path}",
        "repro-gate models fetch tiny",
    )


@pytest.mark.parametrize(
    "source",
    [
        "hf:../../x",
        "hf:owner/repo",
        "hf:owner/repo/",
        "hf:owner//my.gguf",
        "hf:/repo/my.gguf",
        "hf:owner/repo/../my.gguf",
        "hf:owner/repo/a/../../../../my.gguf",
        "hf:owner/../my.gguf",
        "hf:./repo/my.gguf",
        "hf:owner/repo@/my.gguf",
        "hf:owner/repo@../my.gguf",
        "hf:owner/repo//etc/my.gguf",
        r"hf:owner/repo/..\my.gguf",
        "hf:",
    ],
)
def test_a_source_that_could_lead_out_of_the_cache_is_refused(tmp_path: Path, source: str) -> None:
    """Nothing is requested and nothing is written."""
    expected = f"the source of tiny must be hf:OWNER/REPO[@REVISION]/FILE, and is {source!r}"
    for get in (models_in(tmp_path).locate, models_in(tmp_path).fetch):
        with pytest.raises(MeasurementUnavailable) as caught:
            get(model_from(source))
        assert str(caught.value) == expected

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["a\0b", "hf:a/b/c\0", "builtin:x\0", "\x1b[2J", "a\nb"])
def test_a_source_that_cannot_be_printed_is_refused(tmp_path: Path, source: str) -> None:
    """Such as one with a zero byte or an escape sequence."""
    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from(source))

    assert str(caught.value) == f"the source of tiny names no file: {source!r}"


def test_the_matrix_pins_before_the_recorded_digests(tmp_path: Path) -> None:
    """A digest in the matrix was written on purpose."""
    models = models_in(tmp_path, {"tiny": "0b" * 32})

    assert models.expected_sha256(model_from("x", sha256="0a" * 32)) == "0a" * 32
    assert models.expected_sha256(model_from("x")) == "0b" * 32
    assert models_in(tmp_path).expected_sha256(model_from("x")) is None


def test_fetching_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """`fetch` checks the digest of a local file too."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my.gguf").write_bytes(b"GGUF")
    digest = hashlib.sha256(b"GGUF").hexdigest()

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).fetch(model_from("my.gguf", sha256="0a" * 32))

    assert str(caught.value) == (
        f"the file of tiny has the sha256 {digest}, but {'0a' * 32} is pinned"
    )


def test_fetching_a_file_that_is_there_returns_it(tmp_path: Path) -> None:
    """There is nothing to download."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my.gguf").write_bytes(b"GGUF")
    digest = hashlib.sha256(b"GGUF").hexdigest()

    assert models_in(tmp_path).fetch(model_from("my.gguf", sha256=digest)) == ModelFile(
        path=tmp_path / "here" / "my.gguf", sha256=digest
    )


def test_a_digest_covers_all_of_a_large_file(tmp_path: Path) -> None:
    """Not only its first block."""
    content = bytes(3 * 2**20) + b"x"
    (tmp_path / "my.gguf").write_bytes(content)

    assert sha256_of(tmp_path / "my.gguf") == hashlib.sha256(content).hexdigest()


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    """A pipe in place of a model is unavailable, not a crash."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MeasurementUnavailable) as caught:
        sha256_of(tmp_path / "pipe")

    assert str(caught.value) == f"{tmp_path}/pipe: expected a regular file, found a named pipe"


@pytest.mark.parametrize(
    ("content", "named", "remedy"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "a Git LFS pointer",
            "run: git lfs pull",
        ),
        (b"<!doctype html><html><body>Sign in</body></html>", "a web page", "fetch the file again"),
        (b"", "an empty file", "put the file there"),
        (b"PK\x03\x04", "a zip archive", "unpack it"),
    ],
)
def test_other_kinds_of_file_are_recognised(
    tmp_path: Path, content: bytes, named: str, remedy: str
) -> None:
    """For the built-in engine; other engines may read anything."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(content)
    built_in = model_from("model.gguf")
    other = replace(built_in, engine=engine_of(built_in, EngineKind.COMMAND))

    with pytest.raises(MeasurementUnavailable, match=f"model.gguf is {named}") as caught:
        models_in(tmp_path).locate(built_in)
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(remedy)
    assert models_in(tmp_path).locate(other).path == folder / "model.gguf"


@pytest.mark.parametrize("kind", [EngineKind.LLAMA_CPP, EngineKind.COMMAND])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pipe", "{path} is a named pipe"),
        ("zero", "/dev/zero is a character device"),
        ("itself", "{path}: expected a readable file, found Too many levels of symbolic links"),
        ("x" * 300, "{path}: expected a readable file, found File name too long"),
    ],
)
def test_pipes_and_devices_are_reported_and_never_opened(
    tmp_path: Path, kind: EngineKind, name: str, found: str
) -> None:
    """For every engine: a pipe blocks, and a device has no end."""
    here = tmp_path / "here"
    here.mkdir()
    os.mkfifo(here / "pipe")
    (here / "zero").symlink_to("/dev/zero")
    (here / "itself").symlink_to("itself")
    model = model_from(name)

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(replace(model, engine=engine_of(model, kind)))

    assert caught.value.reason == (f"model tiny is missing: {found.format(path=here / name)}")


def test_a_pipe_in_the_cache_is_reported(tmp_path: Path) -> None:
    """A check neither waits for it nor replaces it."""
    model = model_from("hf:owner/repo/my.gguf", sha256="0" * 64)
    path = models_in(tmp_path).path_of(model)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model)

    assert (caught.value.reason, caught.value.remedy) == (
        f"model tiny is missing: {path} is a named pipe",
        "repro-gate models fetch tiny",
    )


def test_a_folder_in_the_cache_is_not_replaced(tmp_path: Path) -> None:
    """It may contain files of the user."""
    model = model_from("hf:owner/repo/my.gguf")
    path = models_in(tmp_path).path_of(model)
    path.mkdir(parents=True)

    with pytest.raises(MeasurementUnavailable, match=r"my.gguf cannot be replaced: Is a directory"):
        models_in(tmp_path).fetch(model)


def test_files_of_a_killed_process_are_swept(tmp_path: Path, digest: str) -> None:
    """The cache does not grow with every cancelled job."""
    model = model_from(f"builtin:{RECIPE}", sha256=digest)
    path = models_in(tmp_path).path_of(model)
    path.parent.mkdir(parents=True)
    maker = subprocess.Popen([sys.executable, "-m", "repro_gate.tiny_models", BIG, f"{path}.big"])
    while not any(file.stat().st_size for file in path.parent.iterdir()):
        assert maker.poll() is None
        time.sleep(0.01)
    maker.kill()
    maker.wait()

    models_in(tmp_path).locate(model)

    assert list(path.parent.iterdir()) == [path]


def test_files_being_written_are_not_swept(tmp_path: Path, digest: str) -> None:
    """Two jobs may share a cache."""
    model = model_from(f"builtin:{RECIPE}", sha256=digest)
    path = models_in(tmp_path).path_of(model)
    path.parent.mkdir(parents=True)
    other = [sys.executable, "-m", "repro_gate.tiny_models", BIG, f"{path}.big"]
    with subprocess.Popen(other, stdout=subprocess.DEVNULL) as maker:
        while not any(file.stat().st_size for file in path.parent.iterdir()):
            assert maker.poll() is None
            time.sleep(0.01)
        (unfinished,) = path.parent.iterdir()
        models_in(tmp_path).locate(model)
        assert maker.poll() is None
        assert set(path.parent.iterdir()) == {path, unfinished}
        maker.kill()


def test_every_built_in_model_has_a_recipe() -> None:
    """The gate has only a list of their names."""
    assert tuple(RECIPES) == BUILT_IN_MODELS


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> list[Path]:
    """Return the paths of three parts of a model beside the matrix."""
    folder = tmp_path / "here"
    folder.mkdir()
    parts = [folder / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"GGUF" + part.name.encode())
    return parts


def test_the_parts_of_a_model_are_pinned_together(tmp_path: Path, parts: list[Path]) -> None:
    """The first one is named, and the digest is that of the joined parts."""
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    models = models_in(tmp_path)

    assert sha256_of(parts[0]) == digest
    assert models.fetch(model_from(parts[0].name, sha256=digest)).path == parts[0]
    with pytest.raises(MeasurementUnavailable, match=f"has the sha256 {digest}, but 0a0a"):
        models.fetch(model_from(parts[0].name, sha256="0a" * 32))


def test_parts_are_beside_the_first_one_in_a_linked_folder(
    tmp_path: Path, parts: list[Path]
) -> None:
    """The name of a part is kept, and its folder is resolved."""
    (tmp_path / "here" / "models").symlink_to(".")

    assert models_in(tmp_path).locate(model_from(f"models/{parts[0].name}")).path == parts[0]


@pytest.mark.parametrize("kind", EngineKind)
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("missing", "there is no file {path}"),
        ("link", "{path} is a symbolic link"),
        ("pipe", "{path} is a named pipe"),
        ("pointer", "{path} is a Git LFS pointer instead of the file"),
    ],
)
def test_every_part_is_there(
    *, tmp_path: Path, parts: list[Path], kind: EngineKind, fault: str, found: str
) -> None:
    """The message names the part, for every engine."""
    moved = parts[2].rename(tmp_path / "moved")
    match fault:
        case "link":
            parts[2].symlink_to(moved)
        case "pipe":
            os.mkfifo(parts[2])
        case "pointer":
            parts[2].write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        case _:
            pass
    model = model_from(parts[0].name)

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(replace(model, engine=engine_of(model, kind)))

    assert caught.value.reason == f"model tiny is missing: {found.format(path=parts[2])}"


def test_a_folder_is_a_model_of_another_engine(tmp_path: Path) -> None:
    """Its digest is that of a manifest; a pointer in place of a file is found."""
    folder = tmp_path / "here" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    manifest = f"{hashlib.sha256(b'{}').hexdigest()}  config.json\n"
    model = model_from("checkpoint", sha256=hashlib.sha256(manifest.encode()).hexdigest())
    model = replace(model, engine=engine_of(model, EngineKind.COMMAND))

    assert models_in(tmp_path).fetch(model).path == folder
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model)
    assert caught.value.reason == (
        f"model tiny is missing: {folder}/model.safetensors is a Git LFS pointer instead of the "
        "file"
    )
    assert caught.value.remedy == "run: git lfs pull"


def test_a_folder_is_no_model_of_the_built_in_engine(tmp_path: Path) -> None:
    """The remedy is what to name instead."""
    folder = tmp_path / "here"
    folder.mkdir()

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model_from("."))

    assert (caught.value.reason, caught.value.remedy) == (
        f"model tiny is a folder, and the engine loads GGUF files: {folder}",
        (
            "name a GGUF file as the source of models.tiny, or the first part of one; "
            "convert_hf_to_gguf.py makes one of a Hugging Face checkpoint"
        ),
    )


def test_an_unusable_folder_is_unavailable(tmp_path: Path) -> None:
    """Such as one with a link out of it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "config.json").symlink_to("../elsewhere")
    model = model_from(".")

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(replace(model, engine=engine_of(model, EngineKind.COMMAND)))

    assert caught.value.reason == (
        f"{folder}/config.json is a symbolic link that leads out of the model's folder"
    )
    assert caught.value.remedy == "copy what the model needs into a folder of its own"


@pytest.mark.parametrize("kind", EngineKind)
def test_a_folder_in_the_cache_is_no_model(tmp_path: Path, kind: EngineKind) -> None:
    """A hub has files."""
    model = model_from("hf:owner/repo/my.gguf")
    path = models_in(tmp_path).path_of(model)
    path.mkdir(parents=True)
    (path / "config.json").touch()

    with pytest.raises(MeasurementUnavailable, match=f"(?:{path} is a folder|files: {path})$"):
        models_in(tmp_path).locate(replace(model, engine=engine_of(model, kind)))


def test_a_removed_working_directory_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever removes the folder during a check, the cells are not measured."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    models = replace(models_in(tmp_path), beside=Path())
    folder.rmdir()

    with pytest.raises(MeasurementUnavailable, match="the working directory was removed"):
        models.locate(model_from("my.gguf"))


def test_the_adapters_of_a_model_are_located_with_it(tmp_path: Path) -> None:
    """Each with its own pin."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("m.gguf", "adapter-1.gguf", "adapter-2.gguf"):
        (folder / name).write_bytes(b"GGUF")
    lora = (lora_of(number=1), lora_of(number=2, sha256="2" * 64))
    model = replace(model_from("m.gguf"), lora=lora)
    files = models_in(tmp_path, {"tiny": "0" * 64, "tiny/lora/1": "1" * 64}).locate(model).files

    assert [(file.path and file.path.name, file.sha256) for file in files] == [
        ("m.gguf", "0" * 64),
        ("adapter-1.gguf", "1" * 64),
        ("adapter-2.gguf", "2" * 64),
    ]


@pytest.mark.parametrize("content", [None, b"version https://git-lfs.github.com/spec/v1\n"])
def test_an_adapter_that_is_not_there_is_named(tmp_path: Path, content: bytes | None) -> None:
    """With its place in the matrix file."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"GGUF")
    if content is not None:
        (folder / "adapter-1.gguf").write_bytes(content)
    model = replace(model_from("m.gguf"), lora=(lora_of(),))

    with pytest.raises(MeasurementUnavailable) as caught:
        models_in(tmp_path).locate(model)
    assert caught.value.reason.startswith("model tiny/lora/1 is missing: ")
    assert content or "correct the source of models.tiny.lora[0]" in str(caught.value.remedy)


def test_fetching_another_adapter_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """As another model is."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("m.gguf", "adapter-1.gguf"):
        (folder / name).write_bytes(b"GGUF")
    model = replace(model_from("m.gguf"), lora=(lora_of(sha256="0" * 64),))

    with pytest.raises(MeasurementUnavailable, match="the file of tiny/lora/1 has the sha256"):
        models_in(tmp_path).fetch(model)


def test_a_model_without_a_source_has_no_file(tmp_path: Path) -> None:
    """Only its server knows it."""
    model = replace(model_spec_of(), source="", sha256=None)
    models = models_in(tmp_path)

    assert models.locate(model) == models.fetch(model) == ModelFile(path=None, sha256=None)
