"""A release of a workspace: its commit, signed evidence, artifacts, and a recipient's policy."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from repro_gate.adapters.sign_off.committed import read_checkout
from repro_gate.adapters.sign_off.envelope import envelope_of, parse_envelope, signed
from repro_gate.adapters.sign_off.evidence import EVIDENCE, report_file
from repro_gate.core.sign_off.measured import ReportFile, named_tests
from repro_gate.core.sign_off.statement import Entry, Kind, Result, Statement, Waiver
from tests.cli.workspaces import PROFILE, Ran, Workspace
from tests.fakes.signing import envelope_bytes, key_of

REPOSITORY = "git+https://github.com/acme/model"
_AUTHOR = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "gc.auto=0")
Change = Callable[[Any], object]


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return its output."""
    command = ["git", "-C", str(folder), *_AUTHOR, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(folder: Path, *options: str) -> str:
    """Commit everything in a folder, and return the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", *options, "--quiet", "--no-gpg-sign", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


def policy_text(**changes: Any) -> str:
    """Return the policy of a recipient who trusts alice and bob; changes are of whole tables."""
    tables: dict[str, Any] = {
        "signers": {"threshold": 2, "keys": ["alice", "bob"]},
        "required": {
            "suites": ["quick"],
            "profiles": [PROFILE],
            "artifacts": ["*.gguf"],
            "minimum_tests": 4,
        },
        "freshness": {"max_age_days": 14},
    } | changes
    lines = ['schema = "repro-gate/policy/v1"', 'repository = "https://github.com/acme/model"']
    for name, table in tables.items():
        plain = {key: value for key, value in table.items() if key != "keys"}
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in plain.items())]
        for key in table.get("keys", ()):
            lines += [f"[[{name}.keys]]", f'name = "{key}"']
            lines.append(f'public_key = "{key_of(key).public.text}"')
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a recipient has: a clone, an artifact, a policy, and evidence from elsewhere."""

    clone: Workspace
    evidence: Path
    policy: Path
    artifact: Path

    def verify(self, *arguments: str, **env: str) -> Ran:
        """Verify the evidence."""
        given = ("--policy", str(self.policy), "--artifact", str(self.artifact))
        return self.clone.run("verify", str(self.evidence), *given, *arguments, **env)

    @property
    def envelope(self) -> Path:
        """The signed file."""
        return self.evidence / EVIDENCE

    @property
    def report(self) -> Path:
        """The report that it rests on."""
        return self.evidence / "report.json"

    @property
    def commit(self) -> str:
        """The commit of the clone."""
        return git(self.clone.folder, "rev-parse", "HEAD")

    def report_file(self) -> ReportFile:
        """Return the report."""
        return report_file(self.report.read_bytes(), self.report)

    def statement(
        self, *, waivers: Sequence[Path] = (), waived: Sequence[str] = (), **changes: Any
    ) -> Statement:
        """Return the statement that a signer makes of commit, report and artifact."""
        checkout = read_checkout(self.clone.folder, self.commit, matrix="repro-gate.toml")
        file = self.report_file()
        tests = [test.name for test in named_tests(file.report, checkout.matrix)]
        values: dict[str, Any] = {
            "repository": REPOSITORY,
            "commit": self.commit,
            "artifacts": {"tiny.gguf": sha256(self.artifact)},
            "result": Result.WARNED if waived else Result.PASSED,
            "configuration": (
                *checkout.entries,
                file.entry(signed_at=datetime.now(UTC)),
                *(
                    Entry(
                        kind=Kind.WAIVER,
                        name=f"waivers/{path.name}",
                        digest={"sha256": sha256(path)},
                    )
                    for path in waivers
                ),
            ),
            "passed": tuple(name for name in tests if name not in waived),
            "warned": tuple(waived),
        }
        return Statement(**{**values, **changes})

    def sign(self, statement: Statement | Any, *names: str) -> None:
        """Write the evidence of a statement, or of JSON data."""
        envelope = envelope_of(
            statement.to_data() if isinstance(statement, Statement) else statement
        )
        for name in names or ("alice", "bob"):
            envelope = signed(envelope, key_of(name))
        self.envelope.write_text(envelope.text(), "ascii")

    def sign_changed(self, change: Change) -> None:
        """Sign a statement after a change of its data."""
        data = self.statement().to_data()
        change(data)
        self.sign(data)

    def sign_bytes(self, payload: bytes, *names: str, **fields: Any) -> None:
        """Write an envelope of any payload."""
        self.envelope.write_bytes(envelope_bytes(payload, *(names or ("alice", "bob")), **fields))

    def payload(self) -> bytes:
        """Return the payload of a good statement."""
        return envelope_of(self.statement().to_data()).payload

    def payload_data(self) -> Any:
        """Return the statement that is signed."""
        return parse_envelope(self.envelope.read_bytes(), self.envelope).data()

    def is_signed_alike(self, other: bytes) -> bool:
        """Return whether the envelope has the payload and the signatures of another one."""
        mine, theirs = (
            parse_envelope(data, self.envelope) for data in (self.envelope.read_bytes(), other)
        )
        values = [[one.value for one in each.signatures] for each in (mine, theirs)]
        return mine.payload == theirs.payload and values[0] == values[1]

    def stamp(self) -> None:
        """Let the report be one of a check of the commit of the clone."""
        text = self.report.read_text("ascii")
        stamped = re.sub(r'"commit":(null|"[0-9a-f]+")', f'"commit":"{self.commit}"', text)
        self.report.write_text(stamped, "ascii")

    def reset(self, commit: str) -> None:
        """Return the clone to a commit."""
        git(self.clone.folder, "reset", "--quiet", "--hard", commit)

    def waive(self, test: str, *names: str, **changes: Any) -> Path:
        """Write a waiver of the drift of a test."""
        checkout = read_checkout(self.clone.folder, self.commit, matrix="repro-gate.toml")
        (finding,) = (
            one.finding
            for one in named_tests(self.report_file().report, checkout.matrix)
            if one.name == test
        )
        now = datetime.now(UTC).replace(microsecond=0)
        values: dict[str, Any] = {
            "repository": REPOSITORY,
            "commit": self.commit,
            "id": "w-1",
            "test": test,
            "finding": finding,
            "reason": "a tokenizer fix",
            "not_before": now - timedelta(minutes=5),
            "not_after": now + timedelta(days=14),
        }
        envelope = envelope_of(Waiver(**{**values, **changes}).to_data())
        for name in names:
            envelope = signed(envelope, key_of(name))
        file = self.evidence / "waivers" / "w-1.dsse.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(envelope.text(), "ascii")
        return file

    def copied_to(self, folder: Path) -> "Release":
        """Return the same release in another folder."""
        shutil.copytree(self.clone.folder.parent, folder, dirs_exist_ok=True)
        return release_in(folder, self.clone.cache)


def release_in(folder: Path, cache: Path) -> Release:
    """Return the release whose files are in a folder."""
    return Release(
        clone=Workspace(folder=folder / "clone", cache=cache),
        evidence=folder / "evidence",
        policy=folder / "policy.toml",
        artifact=folder / "tiny.gguf",
    )


def released(checked: Workspace, folder: Path) -> Release:
    """Return the release of a workspace that was checked, signed by alice and bob."""
    release = release_in(folder, checked.cache)
    origin = folder / "origin"
    shutil.copytree(checked.folder, origin)
    (origin / ".gitignore").write_text("*.gguf\nasked.jsonl\n.repro-gate\n", "utf-8")
    git(origin, "init", "--quiet")
    commit_all(origin)
    git(folder, "clone", "--quiet", str(origin), "clone")
    release.evidence.mkdir()
    shutil.copy(checked.output / "report.json", release.evidence)
    shutil.copy(checked.folder / "tiny.gguf", release.artifact)
    release.policy.write_text(policy_text(), "utf-8")
    release.stamp()
    release.sign(release.statement())
    return release


def sha256(file: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
