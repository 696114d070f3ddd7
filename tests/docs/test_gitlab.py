"""The pipeline for GitLab in the how-to."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

import repro_gate
from repro_gate.cli.gitlab.publish import CODE_QUALITY
from repro_gate.cli.paths import REPORT_FILES
from tests.docs.pages import page

_PAGE = page("docs/how-to/gate-a-merge-request-on-gitlab.md")
(_PIPELINE,) = _PAGE.blocks("yaml")
_JOB = yaml.safe_load(_PIPELINE)["gate"]


def test_gitlab_accepts_the_pipeline(tmp_path: Path) -> None:
    """By the schema that editors use."""
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(_PIPELINE, "utf-8")
    program = Path(sys.executable).with_name("check-jsonschema")
    options = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    ran = subprocess.run(
        [program, *options, "--output-format", "json", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(ran.stdout)["status"] == "ok"


def test_the_pipeline_keeps_what_a_check_writes() -> None:
    """The names are those of the files, and the version is this one."""
    reports = {Path(name) for name in _JOB["artifacts"]["reports"].values()}

    assert {name.name for name in reports} <= {*REPORT_FILES, CODE_QUALITY}
    assert {f"{name.parent}/" for name in reports} == set(_JOB["artifacts"]["paths"])
    assert any(f"repro-gate=={repro_gate.__version__}" in line for line in _JOB["script"])
    assert _JOB["script"][-1].endswith("repro-gate check")
    assert _JOB["after_script"][-1].endswith("repro-gate publish")
