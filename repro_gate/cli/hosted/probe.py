"""`repro-gate probe`: which log-probabilities a server gives."""

import json
from urllib.parse import urlsplit

from repro_gate.adapters.engines.environment import may_hold_an_api_key
from repro_gate.adapters.hosted.probe import probe_server
from repro_gate.adapters.matrix.logprobs import url_problem
from repro_gate.cli.terminal.console import warn
from repro_gate.core.logprobs.policy import ProviderKind
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid
from repro_gate.reports.probe import probe_data, render_probe


def run_probe(url: str, model: str, *, api_key_env: str | None, as_json: bool) -> ExitCode:
    """Print what a server can do.

    Raises:
        UsageInvalid: no key may be sent to the URL, or the variable holds none.
        MeasurementUnavailable: nothing was answered.
    """
    problem = url_problem(url, ProviderKind.OPENAI)
    if problem is not None:
        # The URL may contain a password, so it is not shown.
        raise UsageInvalid(f"URL is an https URL, or an http one on a loopback host, not {problem}")
    if not model.strip():
        raise UsageInvalid("--model names no model")
    if api_key_env is not None and not may_hold_an_api_key(api_key_env):
        raise UsageInvalid(f"--api-key-env: {api_key_env} belongs to the CI system or the machine")
    if api_key_env is not None:
        warn(f"the value of {api_key_env} is sent to {urlsplit(url).netloc}")
    report = probe_server(_base_of(url), model, api_key_env=api_key_env)
    text = f"{json.dumps(probe_data(report), indent=2)}\n" if as_json else render_probe(report)
    print(text, end="", flush=True)
    return ExitCode.PASSED


def _base_of(url: str) -> str:
    """Return the base URL: a host alone has its API below /v1."""
    base = url.rstrip("/")
    return base if urlsplit(base).path else f"{base}/v1"
