"""What a signer has: a clean clone, keys, and an artifact."""

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.cli.release.releases import Release, commit_all, git, policy_text
from tests.cli.workspaces import Ran, Workspace
from tests.fakes.signing import key_of

ADDRESS = "https://github.com/acme/model.git"
LATER = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
DRIFT = {
    "method": "generate",
    "prompt": "Say fox",
    "seed": 1,
    "result": {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A clone of a repository, and files beside it."""

    clone: Workspace
    desk: Path
    """A folder outside of the repository."""

    def key(self, name: str) -> Path:
        """Return the file of the private key of a person."""
        return written_key(self.desk, name)

    @property
    def artifact(self) -> Path:
        """A file of the release."""
        return self.desk / "tiny.gguf"

    @property
    def evidence(self) -> Path:
        """The usual evidence folder."""
        return self.clone.folder / "report" / "sign-off"

    @property
    def envelope(self) -> Path:
        """The signed file."""
        return self.evidence / "evidence.dsse.json"

    @property
    def commit(self) -> str:
        """What is checked out."""
        return git(self.clone.folder, "rev-parse", "HEAD")

    def sign_off(self, *arguments: str, key: str = "alice", **env: str) -> Ran:
        """Sign off the clone with one key."""
        given = ("--key", str(self.key(key)), "--artifact", str(self.artifact))
        return self.clone.run("sign-off", *given, *arguments, **env)

    def waive(self, test: str, *arguments: str, key: str = "carol", **options: Any) -> Ran:
        """Waive a drift in the last report of the clone."""
        values = {"test": test, "reason": "a tokenizer fix", "until": LATER} | options
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return self.clone.run(
            "waive", ".repro-gate", "--key", str(self.key(key)), *words, *arguments
        )

    def drift(self) -> None:
        """Let one cell drift."""
        self.clone.write_script(DRIFT)

    def recipient(self, **policy: Any) -> Release:
        """Return what a recipient has: another clone, the evidence, the artifact, and a policy."""
        folder = self.desk / "recipient"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        git(folder, "clone", "--quiet", str(self.clone.folder), "clone")
        shutil.copytree(self.evidence, folder / "evidence")
        shutil.copy(self.artifact, folder)
        tables = {"signers": {"threshold": 1, "keys": ["alice"]}} | policy
        (folder / "policy.toml").write_text(policy_text(**tables), "utf-8")
        return Release(
            clone=Workspace(folder=folder / "clone", cache=self.clone.cache),
            evidence=folder / "evidence",
            policy=folder / "policy.toml",
            artifact=folder / self.artifact.name,
        )


def signer_of(workspace: Workspace, desk: Path) -> Signer:
    """Return the signer of a workspace, whose files are committed now."""
    ignored = "*.gguf\nscript.json\nasked.jsonl\n.repro-gate\n"
    (workspace.folder / ".gitignore").write_text(ignored, "utf-8")
    git(workspace.folder, "init", "--quiet")
    git(workspace.folder, "remote", "add", "origin", ADDRESS)
    commit_all(workspace.folder)
    signer = Signer(clone=workspace, desk=desk)
    signer.artifact.write_bytes(b"weights")
    return signer


def written_key(folder: Path, name: str) -> Path:
    """Return the file of a private key, as openssl writes it."""
    file = folder / f"{name}.pem"
    data = key_of(name).private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.touch(mode=0o600)
    file.write_bytes(data)
    return file


def without_times(text: str) -> str:
    """Return an output with times and digests in a form that does not change."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\+00:00|Z)", "TIME", text)
    return re.sub(r"\b[0-9a-f]{40,64}\b", "DIGEST", text)
