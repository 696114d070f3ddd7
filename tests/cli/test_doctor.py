"""`doctor` and `models`: what is present, and what is missing."""

import json
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import repro_gate
from tests.cli.workspaces import Ran, Workspace

_OURS = tomllib.loads((Path(__file__).parents[2] / "repro-gate.toml").read_text("utf-8"))
_DIGEST = sha256(b"weights").hexdigest()


def test_the_doctor_shows_what_would_be_checked(recorded: Workspace) -> None:
    """Versions, suites, models with their pins, and the profile with its goldens."""
    recorded.golden("old").write_text("{}", "utf-8")

    ran = recorded.run("doctor")

    assert ran.code == 0
    for message in (
        f"repro-gate {repro_gate.__version__}\n",
        "  suite quick: 4 cells x 2 runs, by default\n",
        f"  model tiny: present, {recorded.folder / 'tiny.gguf'}\n    pinned to {_DIGEST}\n",
        "engine scripted (command on cpu)\n  profile test-cpu: 4 goldens of 4 cells, 1 orphaned\n",
        "  device.name = TEST\n",
    ):
        assert message in ran.out


def test_the_doctor_names_what_a_suite_waits_for(workspace: Workspace) -> None:
    """Files that were never fetched, goldens that were never recorded: each has its command."""
    models = {
        "far": {"engine": "scripted", "source": "hf:some-one/models/far.gguf"},
        "tiny": {"engine": "scripted", "source": "tiny.gguf"},
        "tiny-qwen2": {"engine": "scripted", "source": "builtin:tiny-qwen2"},
    }
    suite = {"runs": 2, "seeds": [1], "prompts": {name: ["haiku"] for name in models}}
    workspace.write_matrix(models=models, suites={"quick": suite})

    ran = workspace.run("doctor")

    record = "repro-gate update-snapshots --suite quick --only"
    assert (
        "  suite quick: 3 cells x 2 runs, by default\n"
        "    far waits for its file and goldens: repro-gate models fetch far\n"
        f"    tiny waits for goldens: {record} 'tiny--*'\n"
        f"    tiny-qwen2 waits for goldens: {record} 'tiny-qwen2--*'\n"
        "  model "
    ) in ran.out


def test_a_suite_whose_file_is_gone_waits_for_it_alone(recorded: Workspace) -> None:
    """Its goldens are there, on one profile or more."""
    assert "waits for" not in recorded.run("doctor").out
    (recorded.folder / "tiny.gguf").unlink()

    ran = recorded.run("doctor")

    remedy = "put the file there, or correct the source of models.tiny in the matrix"
    assert f"    tiny waits for its file: {remedy}\n" in ran.out


def test_the_doctor_names_a_failing_engine(recorded: Workspace) -> None:
    """It still prints the rest."""
    recorded.write_script({"method": "describe", "stderr": "no CUDA driver", "exit": 1})

    ran = recorded.run("doctor", "--device", "cuda:1")

    assert (ran.code, "suite quick" in ran.out) == (4, True)
    assert "engine scripted (command on cuda:1): the engine ended with exit code 1" in ran.out
    assert "its stderr ends with: no CUDA driver" in ran.out


def test_a_broken_matrix_is_3_for_the_doctor(workspace: Workspace) -> None:
    """As for a check."""
    workspace.write_matrix(default_suites=["quikc"])

    ran = workspace.run("doctor")

    assert (ran.code, "did you mean 'quick'?" in ran.err) == (3, True)


def test_the_list_shows_each_model(recorded: Workspace) -> None:
    """Name, presence, source, path and pin."""
    ran = recorded.run("models", "list")

    place = recorded.folder / "tiny.gguf"
    message = f"tiny: present, tiny.gguf\n  {place}\n  sha256 {_DIGEST}\n"
    assert (ran.code, ran.out) == (0, message)


def test_the_list_is_available_as_json(workspace: Workspace) -> None:
    """With --json it is a list of objects."""
    hub = {"engine": "scripted", "source": "hf:some-one/models/deep/tiny.gguf"}
    workspace.write_matrix(models={"tiny": hub})

    ran = workspace.run("models", "list", "--json")

    place = workspace.cache / "models" / "hf" / "some-one" / "models" / "deep" / "tiny.gguf"
    entry = {"name": "tiny", "source": hub["source"], "path": str(place), "sha256": None}
    assert (ran.code, json.loads(ran.out)) == (0, [{**entry, "present": False}])


def test_a_pinned_file_is_verified(recorded: Workspace) -> None:
    """The file that was recorded with is the pinned one."""
    ran = recorded.run("models", "verify")

    assert (ran.code, ran.out) == (0, "tiny: is the pinned file\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(b"other"), f"has the sha256 {sha256(b'other').hexdigest()}"),
        (
            lambda file: file.unlink(),
            "tiny.gguf; put the file there, or correct the source of models.tiny",
        ),
        (
            lambda file: (file.unlink(), file.mkdir()),
            "tiny.gguf: expected a folder with files, found an empty one",
        ),
    ],
    ids=["other", "absent", "folder"],
)
def test_a_file_other_than_the_pinned_one_is_4(
    recorded: Workspace, change: Any, message: str
) -> None:
    """The message names it."""
    change(recorded.folder / "tiny.gguf")

    ran = recorded.run("models", "verify", "tiny")

    assert (ran.code, message in ran.out) == (4, True)


def test_an_unpinned_file_is_not_verified(workspace: Workspace) -> None:
    """Its digest is shown, to be pinned."""
    ran = workspace.run("models", "verify")

    assert (ran.code, ran.out) == (4, f"tiny: not pinned yet; its sha256 is {_DIGEST}\n")


def test_a_model_that_only_its_server_knows_is_named(workspace: Workspace) -> None:
    """There is nothing to verify, fetch or pin: a line shows that, and it is no pass."""
    server = {
        "kind": "served",
        "dialect": "vllm",
        "base_url": "http://127.0.0.1:1",
        "profile": "prod-cpu",
    }
    suite = {"runs": 2, "seeds": [1, 2], "prompts": {"qwen": ["haiku"]}}
    workspace.write_matrix(
        engines={"prod": server}, models={"qwen": {"engine": "prod"}}, suites={"quick": suite}
    )
    names = ("list", "fetch", "verify")
    listed, fetched, verified = (workspace.run("models", name) for name in names)
    repinned = workspace.run("update-snapshots", "--yes", "--repin", "qwen")

    line = "qwen: no file here, as the matrix names no source: only its server knows it\n"
    assert (listed.out, fetched.out, verified.out) == (line, line, line)
    assert (listed.code, fetched.code, verified.code, repinned.code) == (0, 0, 4, 2)
    assert repinned.err.startswith("repro-gate: qwen has no source in ")
    assert f"  model {line}" in workspace.run("doctor").out


@pytest.fixture(scope="module")
def fetched(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Ran]:
    """Return a workspace of built-in models, and the output of their fetch."""
    workspace = Workspace(folder=tmp_path_factory.mktemp("built-in"), cache=cache)
    models = {"tiny-qwen2": {**_OURS["models"]["tiny-qwen2"], "engine": "scripted"}}
    suite = {"runs": 1, "seeds": [1, 2], "prompts": {"tiny-qwen2": ["haiku", "fox"]}}
    workspace.write_matrix(models=models, suites={"quick": suite})
    workspace.write_script()
    return workspace, workspace.run("models", "fetch", "tiny-qwen2")


def test_fetch_builds_a_built_in_model(fetched: tuple[Workspace, Ran]) -> None:
    """The file is the pinned one, byte for byte."""
    workspace, ran = fetched

    file = Path(ran.out.removeprefix("tiny-qwen2: ").strip())
    assert (ran.code, file.is_relative_to(workspace.cache)) == (0, True)
    pinned = _OURS["models"]["tiny-qwen2"]["sha256"]
    assert sha256(file.read_bytes()).hexdigest() == pinned


def test_a_corrupt_built_in_model_is_rebuilt(fetched: tuple[Workspace, Ran]) -> None:
    """A bad file in the cache costs a moment, and no verdict."""
    workspace, ran = fetched
    file = Path(ran.out.removeprefix("tiny-qwen2: ").strip())
    whole = file.read_bytes()
    file.write_bytes(b"junk")

    workspace.record("--only", "tiny-qwen2--fox--*")

    assert file.read_bytes() == whole


def test_a_model_that_cannot_be_fetched_is_4(workspace: Workspace) -> None:
    """Without a network, the message names the model and the reason."""
    models = {"tiny": {"engine": "scripted", "source": "hf:some-one/models/tiny.gguf"}}
    workspace.write_matrix(models=models)
    nowhere = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(workspace.folder / "hub")}

    ran = workspace.run("models", "fetch", **nowhere)

    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("repro-gate: ")
    assert "could not be downloaded" in ran.err or "huggingface_hub" in ran.err
