"""Outputs in the documentation are those of the commands."""

import json
import re
import shutil
import subprocess
import sys
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from repro_gate.core.outcome import ExitCode
from repro_gate.samplers import BESIDE
from tests.docs.pages import ROOT, page

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine


@pytest.mark.parametrize("model", ["tiny-qwen2", "tiny-phi3"])
def test_the_shares_of_the_likeliest_token_are_those_of_the_goldens(model: str) -> None:
    """How much choice the models have is what their goldens show."""
    files = (ROOT / "snapshots" / "goldens" / "cpu-x86_64-avx2").glob(f"{model}--*.json")
    lines = [line.split() for file in files for line in json.loads(file.read_text())["trace"]]
    best = [float(line[2].split(":")[1]) for line in lines]
    another = sum(float(line[0]) < top for line, top in zip(lines, best, strict=True))
    prose = page("docs/explanation/built-in-models.md").text.replace("\n", " ")
    shares = sum(map(exp, best)) / len(lines), another / len(lines)
    expected = "the likeliest token has {:.0%} on average, and another one was drawn {:.0%} of"
    assert expected.format(*shares).replace("%", " %") in prose


def test_the_computed_numbers_are_those_of_the_page() -> None:
    """The page on the statistics shows what the command for its numbers prints."""
    explanation = page("docs/explanation/log-probabilities.md")
    command = ["-m", "benchmarks.logprob_numbers"]
    assert f".venv/bin/python {' '.join(command)}\n" in explanation.blocks("sh")
    printed = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert explanation.blocks("text") == [printed.stdout]


def test_the_count_of_differing_gpu_goldens_is_right() -> None:
    """The number of goldens that differ on the GPU is the same wherever it stands."""
    cpu, gpu = (
        ROOT / "snapshots" / "goldens" / name for name in ("cpu-x86_64-avx2", "cuda-sm90-132sm")
    )
    tokens = [
        [json.loads((folder / file.name).read_text())["tokens"] for folder in (cpu, gpu)]
        for file in cpu.glob("tiny-*.json")
    ]
    differing = sum(one != other for one, other in tokens)
    for name in (
        "README.md",
        "docs/how-to/run-on-a-gpu.md",
        "docs/explanation/determinism.md",
        "docs/adr/0005-what-deterministic-promises.md",
    ):
        assert f"{differing} of {len(tokens)} cells" in page(name).text.replace("\n", " "), name


def test_a_changed_setting_is_a_drift_in_the_form_of_the_readme(
    tmp_path: Path, repro_gate: "CommandLine"
) -> None:
    """With a 16-bit KV cache some tiny cells drift, and each names the setting."""
    shutil.copytree(ROOT / "snapshots", tmp_path / "snapshots")
    matrix = (ROOT / "repro-gate.toml").read_text().replace('kv_type = "f32"', 'kv_type = "f16"')
    (tmp_path / "repro-gate.toml").write_text(matrix)

    result = repro_gate("check", "--runs", "1")

    assert result.exit_code == ExitCode.FINDINGS
    document = json.loads((tmp_path / ".repro-gate" / "report.json").read_text())
    report = document["result"]["report"]
    drifted = [cell for cell in report["cells"] if cell["verdict"]["kind"] == "drift"]
    assert 0 < len(drifted) == document["counts"]["tokens"]["drift"]
    change = {"name": "setting.kv_type", "before": "f32", "after": "f16"}
    assert all(change in cell["verdict"]["provenance"] for cell in drifted)
    (shown,) = page("README.md").blocks("text")
    assert _labels(shown)
    assert _labels(shown) <= _labels(result.output)
    assert report["logprobs"][0]["suite_test"]["verdict"] == "changed"
    cell_id = next(cell["id"] for cell in document["cells"] if cell["verdict"] == "drift")
    _require_grade_and_cause(result.output, repro_gate("explain", cell_id).output)


def _require_grade_and_cause(check: str, explanation: str) -> None:
    """The grade and the cause that the page on failures shows are printed."""
    blocks = page("docs/how-to/read-a-failure.md").blocks("text")
    (grade,) = (block for block in blocks if block.startswith("consistent with rounding  "))
    (cause,) = (block for block in blocks if block.startswith("  cause "))
    title, claim, *_ = grade.splitlines()
    assert f"\n{title.partition('  ')[0]}  " in check
    assert f"\n{claim}\n" in check
    assert _labels(grade) <= _labels(check)
    assert cause.partition("\n\n")[0] in explanation
    assert _labels(cause) <= _labels(explanation)


def test_make_gate_ends_as_shown(repro_gate: "CommandLine") -> None:
    """The embedded suites print what the page shows, but for times and rounding."""
    result = repro_gate("check", "--config", str(ROOT / "repro-gate.toml"))

    assert result.exit_code == ExitCode.PASSED
    varying = re.compile(r"typical shift \S+|wall \S+ s|engine \S+ s")
    shown = page("docs/explanation/built-in-models.md").blocks("text")[-1]
    printed = iter(varying.sub("", result.stdout).splitlines())
    assert [line for line in varying.sub("", shown).splitlines() if line not in printed] == []


def _labels(output: str) -> set[str]:
    return set(re.findall(r"^  (\S[\w ]*?) {2,}\S", output, re.MULTILINE))


def test_a_chat_is_rendered_as_its_page_shows(repro_gate: "CommandLine", tmp_path: Path) -> None:
    """The golden of the matrix of the page has the text of the page."""
    guide = page("docs/how-to/gate-what-you-serve.md")
    matrix, more = guide.blocks("toml")
    # A tiny model with the same template.
    matrix = matrix.replace("models/SmolLM2-135M-Instruct.Q4_1.gguf", "builtin:tiny-qwen2")
    matrix = matrix.replace("threads = 4", "threads = 1")
    (tmp_path / "repro-gate.toml").write_text(f"{matrix}\n{more}", "utf-8")
    (tmp_path / "gemma.jinja").write_text("{{ messages[0].content }}", "utf-8")

    recorded = repro_gate("update-snapshots", "--yes")

    assert recorded.exit_code == ExitCode.PASSED, recorded.output
    (golden,) = tmp_path.glob("snapshots/goldens/*/*.json")
    assert json.loads(golden.read_text("utf-8"))["rendered"] == json.loads(guide.blocks("json")[0])


def test_a_first_matrix_is_short_and_pins_all_that_its_page_shows(
    repro_gate: "CommandLine", tmp_path: Path
) -> None:
    """What is in force is printed as the page has it, and only the model file decides the rest."""
    guide = page("docs/how-to/gate-what-you-serve.md")
    matrix = guide.blocks("toml")[0]
    (tmp_path / "repro-gate.toml").write_text(matrix, "utf-8")

    printed = repro_gate("settings").stdout.splitlines()

    assert sum(map(bool, matrix.splitlines())) == 9
    assert [line for line in guide.blocks("text")[0].splitlines() if line not in printed] == []
    unset = [line.split() for line in printed if "  -  " in line]
    chosen = {name for name, _, *origin in unset if origin == ["default"]}
    assert chosen == {"load_mode", "contexts", *BESIDE}
