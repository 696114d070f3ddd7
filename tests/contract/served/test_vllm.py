"""A vLLM behind the gate: real with `make served`, and imitated."""

from pathlib import Path

import pytest

from tests.contract.served.workspaces import Mode, ServedWorkspace, matrix_of, vllm
from tests.fakes.hf_folder import write_folder


def _write(workspace: ServedWorkspace, modes: dict[str, str], *options: str) -> None:
    matrix = matrix_of(vllm(*options), modes, source="small-qwen2")
    (workspace.folder / "repro-gate.toml").write_text(matrix, "utf-8")


@pytest.fixture
def imitated(workspace: ServedWorkspace) -> ServedWorkspace:
    """Return a folder with a model; the server does not read it."""
    write_folder(workspace.folder / "small-qwen2")
    return workspace


@pytest.mark.parametrize(
    ("options", "modes", "code"),
    [
        (("--dtype", "float32"), {"alone": "bits", "concurrent-8": "bits", "restart": "bits"}, 0),
        (("--dtype", "bfloat16"), {"concurrent-8": "tokens"}, 0),
        (("--dtype", "bfloat16"), {"concurrent-8": "bits"}, 10),
        (("--dtype", "float32", "--effect", "tokens"), {"concurrent-8": "tokens"}, 10),
        (("--dtype", "float32", "--effect", "cache"), {"alone": "bits", "repeat": "tokens"}, 10),
        (("--dtype", "float32"), {"repeat": "tokens", "after-prefix": "bits"}, 0),
        (("--dtype", "float32", "--block-size", "128"), {"repeat": "tokens"}, 10),
    ],
)
def test_modes_of_an_imitation(
    imitated: ServedWorkspace, options: tuple[str, ...], modes: dict[str, str], code: int
) -> None:
    """What holds passes; what moves, or did not happen, is found."""
    _write(imitated, modes, *options)
    assert imitated.record().code == 0
    ran = imitated.run("check")
    assert ran.code == code, ran


def test_an_engine_that_dies_ends_no_verdict(imitated: ServedWorkspace) -> None:
    """Cells that were measured before keep theirs; each of the others has a new server."""
    _write(imitated, {}, "--dtype", "float32")
    assert imitated.record().code == 0
    _write(imitated, {}, "--dtype", "float32", "--dies-after", "20")
    ran = imitated.run("check")
    assert ran.code == 4, ran
    assert {"match", "inconclusive"} == set(imitated.verdicts().values())
    assert "EngineCore encountered an issue" in ran.out


@pytest.fixture(scope="module")
def real(vllm: Path, tmp_path_factory: pytest.TempPathFactory) -> ServedWorkspace:
    """Return a folder with goldens of a real vLLM in float32."""
    folder = tmp_path_factory.mktemp("vllm")
    workspace = ServedWorkspace(folder=folder, cache=folder / ".cache", programs=vllm)
    write_folder(folder / "small-qwen2")
    return workspace


def test_every_bit_holds_in_float32(real: ServedWorkspace) -> None:
    """Alone, in company and after a restart."""
    modes = dict.fromkeys(("alone", "concurrent-8", "mixed-6", "restart"), "bits")
    _write(real, modes, "--dtype", "float32")
    recorded = real.run_slowly("update-snapshots", "--yes")
    assert recorded.code == 0, recorded
    ran = real.run_slowly("check")
    assert ran.code == 0, ran
    assert real.modes()["concurrent-8"] == Mode(
        answers=48, other_tokens=0, other_bits=0, proof="seen"
    )


def test_bfloat16_drifts_from_float32(real: ServedWorkspace) -> None:
    """And the option of the command line is named as what changed."""
    _write(real, {"alone": "bits", "concurrent-8": "any"}, "--dtype", "bfloat16")
    ran = real.run_slowly("check")
    assert ran.code == 10, ran
    assert set(real.verdicts().values()) <= {"drift", "match"}
    assert "server.option.dtype: float32 -> bfloat16" in ran.out
