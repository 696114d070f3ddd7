"""The suite that a command about a watch works on, with its committed watch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repro_gate.adapters.files.watches import WATCHES, WatchFiles
from repro_gate.cli import wiring
from repro_gate.cli.session import Selection, Session, open_session
from repro_gate.core.logprobs.policy import LogprobPlan
from repro_gate.core.watch.epoch import Watch
from repro_gate.errors import UsageInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSuite:
    """A suite of log-probabilities, and the files of its watch."""

    workspace: wiring.Workspace
    plan: LogprobPlan
    files: WatchFiles

    @property
    def name(self) -> str:
        """The name of the suite."""
        return self.plan.suite.name

    @property
    def session(self) -> Session:
        """The session of the command."""
        return self.workspace.session

    def watch(self) -> Watch | None:
        """Return the committed watch, or None when none is open; raises `InputInvalid`."""
        return self.files.read(self.name)


def watched_suite(
    config: Path | None,
    suite: str,
    *,
    allowed_hosts: Sequence[str] = (),
    output: Path | None = None,
) -> WatchedSuite:
    """Open the matrix and return the suite of a watch, open or not.

    Args:
        config: the matrix file, if it is given.
        suite: the name of the suite.
        allowed_hosts: hosts that may receive requests; empty for every one.
        output: the report folder, for the logs of servers.

    Raises:
        InputInvalid: the matrix is invalid, or uses a host that is not allowed.
        UsageInvalid: there is no such suite of log-probabilities.
    """
    selection = Selection(config=config, suites=(suite,), allowed_hosts=tuple(allowed_hosts))
    session = open_session(selection, output=output)
    plans = session.logprob_plans()
    if not plans:
        known = ", ".join(session.matrix.logprob_suites) or "none"
        raise UsageInvalid(
            f"there is no suite of log-probabilities {suite!r}; the matrix has: {known}"
        )
    workspace = wiring.workspace_for(session)
    return WatchedSuite(
        workspace=workspace, plan=plans[0], files=WatchFiles(workspace.snapshots / WATCHES)
    )
