"""Who follows the how-to about hosted models gets what it shows."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.logprobs import error_rates
from repro_gate.core.logprobs.policy import Tolerance
from repro_gate.core.outcome import ExitCode
from tests.docs.pages import ROOT, page
from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.effects import Shift, on
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.noise import Mixture
from tests.fakes.fireworks.server import serving

if TYPE_CHECKING:
    from tests.docs.conftest import CommandLine

_EXAMPLE = ROOT / "docs" / "examples" / "hosted" / "repro-gate.toml"
_HOWTO = page("docs/how-to/gate-a-hosted-model.md")
_EXPLANATION = page("docs/explanation/log-probabilities.md")
_KEY = "FIREWORKS_API_KEY"
_SEED = 5
_OUTLIER = on(49, Shift(nats=-114, token=1))
"""One call of the first recording is an outlier, as on the page."""
_TIMES = re.compile(r"wall \d+\.\d+ s")


def _shown(output: str) -> str:
    """Return an output as far as it is the same every time."""
    return _TIMES.sub("wall", output)


def test_the_parts_that_are_shown_are_those_of_the_example() -> None:
    """Each block of TOML about Fireworks stands in the complete file as well."""
    whole = _EXAMPLE.read_text()
    blocks = [block for block in _HOWTO.blocks("toml") if "providers.ours" not in block]
    assert len(blocks) == 4
    assert all(block in whole for block in blocks)


def test_the_example_is_read() -> None:
    """The complete file breaks no rule, and has the policies of the page."""
    suite = read_matrix(_EXAMPLE).logprob_suites["hosted"]
    assert len(suite.cells) == 12
    named = set(re.findall(r"`([a-z-]+)`", _HOWTO.sections()["Write the matrix"]))
    assert {cell.policy.name for cell in suite.cells} <= named


def test_the_outputs_are_those_of_the_commands(
    tmp_path: Path, repro_gate: "CommandLine", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded, counted, checked, and checked without a key: each block is a part of an output."""
    text = _EXAMPLE.read_text()
    (policy,) = {cell.policy.model for cell in read_matrix(_EXAMPLE).logprob_suites["hosted"].cells}
    model = HostedModel(name=policy, noise=Mixture())
    with serving(model, conduct=Conduct(seed=_SEED), rules=[_OUTLIER]) as api:
        # One call at a time, so that each cell gets the same noise every time.
        text = text.replace("concurrency = 16", f'concurrency = 1\nbase_url = "{api.base_url}"')
        (tmp_path / "repro-gate.toml").write_text(text)
        monkeypatch.setenv(_KEY, api.key)
        refused = repro_gate("record-baseline", "--suite", "hosted", "--yes")
        again = repro_gate("record-baseline", "--suite", "hosted", "--yes")
        priced = repro_gate("check", "--suite", "hosted", "--dry-run")
        passed = repro_gate("check", "--suite", "hosted")
        monkeypatch.delenv(_KEY)
        unmeasured = repro_gate("check", "--suite", "hosted")
        of_a_fork = repro_gate("check", "--suite", "hosted", "--fail-on", "findings")

    ran = (refused, again, priced, passed, unmeasured, of_a_fork)
    assert [each.exit_code for each in ran] == [
        ExitCode.FINDINGS,
        ExitCode.PASSED,
        ExitCode.INCONCLUSIVE,
        ExitCode.PASSED,
        ExitCode.INCONCLUSIVE,
        ExitCode.PASSED,
    ]
    assert _shown(of_a_fork.stdout) == _shown(unmeasured.stdout)
    here = urlsplit(api.base_url).netloc
    outputs = [
        _shown(each.stdout.replace(here, "api.fireworks.ai"))
        for each in (refused, priced, passed, unmeasured)
    ]
    blocks = [_shown(block) for block in _HOWTO.blocks("text")]
    assert len(blocks) == len(outputs)
    assert [block in output for block, output in zip(blocks, outputs, strict=True)] == [True] * 4, (
        "\n".join(outputs)
    )


def _jobs() -> dict[str, dict[str, Any]]:
    """Return the jobs of the workflow of the page."""
    (workflow,) = _HOWTO.blocks("yaml")
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(workflow)["jobs"]
    return jobs


def test_only_the_job_with_an_environment_gets_the_key() -> None:
    """In the workflow of the page a pull request cannot have the key without an approval."""
    (workflow,) = _HOWTO.blocks("yaml")
    keepers = {name for name, job in _jobs().items() if "secrets." in str(job)}
    assert keepers == {name for name, job in _jobs().items() if "environment" in job} == {"hosted"}
    assert "pull_request_target" not in workflow


def test_only_a_fork_may_go_unmeasured() -> None:
    """Where there is a key, a service that was not measured is a failure."""
    inputs = {name: job["steps"][-1]["with"] for name, job in _jobs().items()}
    assert inputs["fork"].pop("fail-on") == "findings"
    assert inputs["fork"].pop("comment") == "never"
    assert inputs["hosted"].pop("api-key") == "${{ secrets.FIREWORKS_API_KEY }}"
    assert inputs["hosted"] == inputs["fork"]


def test_the_explanation_has_the_shares_of_the_design() -> None:
    """The table has the shares of the stated rate."""
    shares = {
        "drift of any cell": error_rates.CELLS_SHARE,
        "drift of the suite as a whole": error_rates.SUITE_SHARE,
        "outliers": error_rates.OUTLIERS_SHARE,
        "A/A controls": error_rates.CONTROLS_SHARE,
    }
    section = _EXPLANATION.sections()["The stated rate"]
    rows = dict(re.findall(r"^\| (\w[^|]*) \| ([\d.]+ %) \|", section, re.MULTILINE))
    assert rows == {finding: f"{100 * share:g} %" for finding, share in shares.items()}
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("heading", "number"),
    [
        ("Two looks, and stopping early", f"at most {error_rates.SCREEN}."),
        ("Two looks, and stopping early", f"at most {error_rates.CONFIRMATION} in"),
        ("How the gate decides", f"(`draws`, {Tolerance().draws})"),
        ("How large is the effect?", f"{Tolerance().floor_nats} nats by default"),
        ("Outliers", f"`outlier_factor`, {Tolerance().outlier_factor:g} by default"),
    ],
)
def test_the_explanation_has_the_numbers_of_the_design(heading: str, number: str) -> None:
    """A number that decides is the same on the page and in the code."""
    assert number in _EXPLANATION.sections()[heading].replace("\n", " ")
