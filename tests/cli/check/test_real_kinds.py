"""The real engine with models of other kinds, from the recording to the check."""

from pathlib import Path

from tests.cli.workspaces import Workspace, matrix_of, toml
from tests.fakes.model_kinds import make_kind

_KINDS = ("rwkv7", "lfm2", "t5")
_ENGINE = {
    "kind": "llama_cpp",
    "device": "cpu",
    "timeout_s": 60,
    "settings": {
        "n_ctx": 256,
        "n_batch": 256,
        "threads": 1,
        "flash_attention": False,
        "kv_type": "f32",
    },
}


def test_a_recording_of_each_kind_is_matched(cache: Path, tmp_path: Path) -> None:
    """Its controls pass too: seeds and prompts change the tokens."""
    workspace = Workspace(folder=tmp_path, cache=cache)
    for name in _KINDS:
        make_kind(name, tmp_path / f"{name}.gguf")
    matrix = matrix_of(
        _ENGINE,
        models={name: {"engine": "scripted", "source": f"{name}.gguf"} for name in _KINDS},
        suites={
            "quick": {
                "runs": 3,
                "seeds": [1, 2],
                "prompts": {name: ["haiku", "fox"] for name in _KINDS},
            }
        },
    )
    (tmp_path / "repro-gate.toml").write_text(toml(matrix), "utf-8")

    assert workspace.record().code == 0
    assert workspace.run("check").code == 0
    assert set(workspace.verdicts().values()) == {"match"}
