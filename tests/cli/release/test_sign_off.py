"""`repro-gate sign-off`, `countersign` and `waive`, and every reason to refuse."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro_gate.core.outcome import ExitCode
from tests.cli.hosted.workspaces import HostedWorkspace
from tests.cli.release.releases import commit_all, git
from tests.cli.release.signers import LATER, Signer, signer_of, without_times
from tests.cli.workspaces import PROFILE, Ran, contents_of, ended, matrix_of
from tests.fakes.fireworks.conduct import KEY
from tests.fakes.signing import key_of

FOX = f"quick/tiny--fox--seed1/{PROFILE}"
ONE_TOKEN = {"tokens": [[9, b" 9".hex()]]}
WAIVERS = {"threshold": 1, "keys": ["carol"]}


def assert_not_signed(signer: Signer, ran: Ran, message: str, *, code: int) -> None:
    """Assert that a command ended with a code and a message, and left no evidence."""
    shown = ran.out + ran.err
    assert message in shown
    assert ran.code == code, shown
    assert "signed off: git" not in shown
    assert not signer.envelope.exists()


def test_a_release_is_checked_and_signed(signer: Signer) -> None:
    """The output ends with what was signed, and with the command of the recipient."""
    ran = signer.sign_off()

    assert ran.code == 0, ran
    lines = without_times(ran.out).splitlines()
    assert lines[lines.index("signed off: git+https://github.com/acme/model at DIGEST") :] == [
        "signed off: git+https://github.com/acme/model at DIGEST",
        "  tests: 4 passed, 0 with waived drift",
        "  measured: TIME (report.json)",
        "  artifact: tiny.gguf, sha256 DIGEST",
        "  signed by: alice, key id DIGEST",
        "  evidence: report/sign-off, sha256 DIGEST",
        "Send the whole folder. In a clone of the repository, its recipient runs:",
        (
            f"  repro-gate verify report/sign-off --artifact {signer.artifact.name} "
            "--commit DIGEST --policy policy.toml"
        ),
    ]
    assert sorted(file.name for file in signer.evidence.iterdir()) == [
        "evidence.dsse.json",
        "report.json",
        "signoff.html",
        "signoff.md",
    ]
    report = signer.clone.output / "report.json"
    assert (signer.evidence / "report.json").read_bytes() == report.read_bytes()
    assert "**PASSED: 4 tests of this commit passed" in (signer.evidence / "signoff.md").read_text()


def test_a_release_without_files_is_noticed(signer: Signer) -> None:
    """It is a release all the same, of the commit alone."""
    ran = signer.clone.run("sign-off", "--key", str(signer.key("alice")))

    assert ran.code == 0, ran
    assert "  artifact: none, so only the commit is signed (--artifact)\n" in ran.out


def test_evidence_is_accepted_in_another_clone(signer: Signer, tmp_path: Path) -> None:
    """By somebody with another home, and by the printed command."""
    assert signer.sign_off().code == 0

    recipient = signer.recipient()
    assert recipient.verify(HOME=str(tmp_path)).code == 0
    ran = recipient.verify("--commit", signer.commit, HOME=str(tmp_path))
    assert ran.out.startswith(f"accepted: git+https://github.com/acme/model at {signer.commit}\n")
    assert git(recipient.clone.folder, "status", "--porcelain") == ""


AS_NOBODY = """
import os, sys
from pathlib import Path
from typer.testing import CliRunner
from repro_gate.cli.app import app
home = Path(sys.argv[1])
# The first time imports all that only root may read.
CliRunner().invoke(app, sys.argv[2:])
for path in (home, *home.rglob("*")):
    os.chown(path, 65534, 65534)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ran = CliRunner().invoke(app, sys.argv[2:])
print(os.getuid(), ran.exit_code, ran.output, ran.exception)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_evidence_is_accepted_by_another_user(signer: Signer) -> None:
    """Who owns another clone, and cannot read the first one."""
    assert signer.sign_off().code == 0
    with tempfile.TemporaryDirectory() as name:
        release = signer.recipient().copied_to(Path(name))
        given = ("--policy", str(release.policy), "--artifact", str(release.artifact))
        ran = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, name, "verify", str(release.evidence), *given],
            cwd=release.clone.folder,
            env=signer.clone.environment(HOME=name),
            capture_output=True,
            text=True,
            check=False,
        )

    assert ran.stdout.startswith("65534 0 accepted: git+https://github.com/acme/model at "), ran


def test_a_release_is_signed_off_again(signer: Signer) -> None:
    """The evidence and the reports of the first time are no changes of the work tree."""
    assert signer.sign_off().code == 0
    assert signer.sign_off(key="bob").code == 0

    assert signer.recipient(signers={"threshold": 1, "keys": ["bob"]}).verify().code == 0


def test_files_that_the_command_line_names_are_no_changes(signer: Signer) -> None:
    """They may lie in the work tree."""
    folder = signer.clone.folder
    (folder / "model.bin").write_bytes(b"x")
    shutil.copy(signer.key("bob"), folder / "bob.pem")

    ran = signer.sign_off(
        *("--artifact", "model.bin", "--key", "bob.pem", "--output", "evidence", "--from"),
        str(checked(signer, "results")),
    )

    assert ran.code == 0, ran
    assert "  artifact: model.bin, sha256 " in ran.out
    assert "  signed by: bob, key id " in ran.out


def checked(signer: Signer, output: str, *arguments: str) -> Path:
    """Check the clone, and return its report folder."""
    signer.clone.run("check", "--output", output, *arguments)
    return signer.clone.folder / output


def test_a_finished_report_is_taken(signer: Signer) -> None:
    """Nothing is measured again."""
    reports = checked(signer, str(signer.desk / "results"))
    asked = len(signer.clone.asked())

    assert signer.sign_off("--from", str(reports)).code == 0
    assert signer.sign_off("--from", str(reports / "report.json")).code == 0
    assert len(signer.clone.asked()) == asked
    assert signer.recipient().verify().code == 0


def test_shards_are_merged_before(signer: Signer) -> None:
    """The merged report has the commit, too; a missing shard leaves no report to sign."""
    shards = signer.desk / "shards"
    for number in (1, 2):
        checked(signer, str(shards / str(number)), "--shard", f"{number}/2")
    merged = ("--output", str(signer.desk / "merged"))
    assert signer.clone.run("merge", str(shards), *merged).code == 0
    assert signer.sign_off("--from", str(signer.desk / "merged")).code == 0

    shutil.rmtree(shards / "2")
    assert signer.clone.run("merge", str(shards), *merged).code == 4
    ran = signer.sign_off("--from", str(signer.desk / "merged"))
    assert_not_signed(
        signer,
        ran,
        "result: expected the report of a check, as repro-gate check writes it, found a check that",
        code=3,
    )
    ran = signer.sign_off("--from", str(shards / "1"))
    assert_not_signed(signer, ran, "suite quick on test-cpu", code=4)


def record_on(signer: Signer, profile: str) -> None:
    """Commit goldens of another profile."""
    signer.clone.write_script(profile=profile)
    assert signer.clone.record().code == 0
    commit_all(signer.clone.folder)


def test_each_profile_with_goldens_is_needed(signer: Signer) -> None:
    """With a report of each, or the profiles that are released by name."""
    record_on(signer, "test-gpu")
    gpu = checked(signer, str(signer.desk / "gpu"))
    signer.clone.write_script()
    cpu = checked(signer, str(signer.desk / "cpu"))

    ran = signer.sign_off("--from", str(cpu))
    assert_not_signed(
        signer, ran, "required: suite quick on test-gpu\n    expected all 4 tests", code=4
    )
    ran = signer.sign_off("--from", str(cpu), "--from", str(cpu))
    assert_not_signed(signer, ran, "result: reports\n    expected each test in one of them", code=4)

    assert signer.sign_off("--from", str(cpu), "--from", str(gpu)).code == 0
    assert sorted(file.name for file in signer.evidence.glob("report*")) == [
        "report-1.json",
        "report-2.json",
    ]
    assert signer.recipient().verify().code == 0
    assert signer.sign_off("--profile", PROFILE).code == 0
    page = (signer.evidence / "signoff.md").read_text()
    assert "| profile | `test-gpu` | has snapshots, but was not measured |" in page


# Hosted models.


@pytest.fixture
def hosting(hosted: HostedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Return the signer of a workspace with a hosted suite of two items."""
    return signer_of(hosted, tmp_path_factory.mktemp("desk"))


HOSTED = {"suites": ["hosted"], "profiles": [], "minimum_tests": 2}


def test_log_probabilities_of_a_hosted_model_are_signed(hosting: Signer) -> None:
    """Its tests hold at the provider; the key of the API is nowhere in the evidence."""
    ran = hosting.sign_off("--suite", "hosted")

    assert ran.code == 0, ran
    assert hosting.recipient(required=HOSTED).verify().code == 0
    passed = hosting.recipient().payload_data()["predicate"]["passedTests"]
    assert passed == ["hosted/base--plane/fake", "hosted/base--train/fake"]
    page = (hosting.evidence / "signoff.md").read_text()
    assert "| `hosted` | `base` | `fake` | 2 of 2 items | " in page
    assert not any(KEY.encode() in data for data in contents_of(hosting.evidence).values())


def test_a_provider_that_does_not_answer_is_no_pass(hosting: Signer) -> None:
    """Nothing was measured."""
    ran = hosting.sign_off("--suite", "hosted", KEY_OF_THE_TESTS="wrong")

    assert_not_signed(hosting, ran, "test: hosted/base--plane/", code=4)


# Reasons to refuse.

Change = Callable[[Signer], Any]


def committed(change: Change) -> Change:
    """Return a change that is committed."""

    def changed(signer: Signer) -> None:
        change(signer)
        commit_all(signer.clone.folder)

    return changed


def golden(signer: Signer, seed: int = 1) -> Path:
    """Return a golden of the clone."""
    return signer.clone.golden(f"tiny--fox--seed{seed}")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        pytest.param(
            lambda signer: golden(signer).write_text("{}"),
            4,
            "commit: work tree\n    expected the files of ",
            id="a-changed-file",
        ),
        pytest.param(
            lambda signer: (signer.clone.folder / "conftest.py").touch(),
            4,
            "found conftest.py\n    commit, remove or ignore these files",
            id="an-untracked-file",
        ),
        pytest.param(
            committed(lambda signer: (signer.clone.snapshots / "models.json").unlink()),
            4,
            "model: tiny\n    expected a model that the commit pins by sha256\n    found none",
            id="a-model-without-a-pin",
        ),
        pytest.param(
            lambda signer: (signer.clone.folder / "tiny.gguf").write_bytes(b"other"),
            4,
            "test: "
            + FOX
            + "\n    expected agreement with what is committed\n    found inconclusive",
            id="another-model",
        ),
        pytest.param(
            committed(lambda signer: golden(signer).unlink()),
            10,
            f"test: {FOX}\n    expected agreement with what is committed\n    found unrecorded",
            id="unrecorded",
        ),
        pytest.param(
            committed(
                lambda signer: signer.clone.write_matrix(
                    suites={
                        "quick": {"runs": 2, "seeds": [1], "prompts": {"tiny": ["fox", "haiku"]}}
                    }
                )
            ),
            10,
            "decision: report.json",
            id="orphans",
        ),
        pytest.param(Signer.drift, 10, f"test: {FOX}", id="drift"),
        pytest.param(
            lambda signer: signer.clone.write_script(
                *(
                    {
                        "method": "generate",
                        "prompt": f"Say {name}",
                        "result": {"tokens": [[7, "37"]]},
                    }
                    for name in ("fox", "haiku")
                )
            ),
            10,
            f"test: {FOX}\n    expected agreement with what is committed\n    found",
            id="the-same-for-every-seed",
        ),
        pytest.param(
            lambda signer: signer.clone.write_script(
                {"method": "generate", "prompt": "Say fox", "exit": 9}
            ),
            4,
            f"test: {FOX}\n    expected agreement with what is committed\n    found inconclusive",
            id="an-engine-that-dies",
        ),
        pytest.param(
            committed(lambda signer: (signer.clone.folder / "repro-gate.toml").unlink()),
            3,
            "repro-gate.toml: expected a matrix file",
            id="no-matrix",
        ),
        pytest.param(
            lambda signer: shutil.rmtree(signer.clone.folder / ".git"),
            4,
            "rev-parse",
            id="no-clone",
        ),
        pytest.param(
            lambda signer: git(signer.clone.folder, "remote", "remove", "origin"),
            2,
            "there is no remote origin: give --repository URL",
            id="no-remote",
        ),
        pytest.param(
            lambda signer: git(signer.clone.folder, "remote", "set-url", "origin", "../model"),
            2,
            "the address of the remote origin: a repository is an address such as",
            id="a-local-remote",
        ),
        pytest.param(
            lambda signer: signer.artifact.unlink(),
            3,
            "tiny.gguf: expected a readable file",
            id="no-artifact",
        ),
    ],
)
def test_what_is_missing_is_not_signed(
    signer: Signer, change: Change, code: int, message: str
) -> None:
    """Each with its own message."""
    change(signer)

    ran = signer.sign_off(GIT_CEILING_DIRECTORIES=str(signer.clone.folder.parent))

    assert_not_signed(signer, ran, message, code=code)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--only", "tiny--fox*"], 2, "No such option", id="a-part-of-a-suite"),
        pytest.param(["--runs", "1"], 2, "No such option", id="other-runs"),
        pytest.param(["--suite", "other"], 2, "there is no suite 'other'", id="an-unknown-suite"),
        pytest.param(["--profile", "gpu"], 4, "required: profile gpu", id="an-unknown-profile"),
        pytest.param(
            ["--repository", "model"], 2, "--repository: a repository is", id="no-address"
        ),
        pytest.param(["--output", "."], 2, "--output: name a folder that has", id="its-own-folder"),
        pytest.param(["--from", "missing"], 3, "missing: expected a readable", id="no-report"),
        pytest.param(["--from", "repro-gate.toml"], 3, "repro-gate.toml: ", id="another-file"),
        pytest.param(["--waiver", "repro-gate.toml"], 3, "expected ", id="no-waiver"),
    ],
)
def test_a_wrong_command_line_signs_nothing(
    signer: Signer, arguments: list[str], code: int, message: str
) -> None:
    """Nothing waves a part of a suite through."""
    assert_not_signed(signer, signer.sign_off(*arguments), message, code=code)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--runs", "1"],
            "report: report.json: quick/tiny--fox--seed1\n    expected 2 runs",
            id="fewer-runs",
        ),
        pytest.param(
            ["--only", "*haiku*"], "suite quick on test-cpu\n    expected all 4 tests", id="a-part"
        ),
    ],
)
def test_a_report_of_less_is_refused(signer: Signer, options: list[str], message: str) -> None:
    """However well it passed."""
    report = checked(signer, str(signer.desk / "results"), *options)

    assert_not_signed(signer, signer.sign_off("--from", str(report)), message, code=4)


def test_a_report_has_the_commit_unless_a_file_was_changed(signer: Signer) -> None:
    """An untracked file is none; that the tree is whole is a matter of signing."""
    (signer.clone.folder / "new").touch()
    signer.clone.run("check")
    assert signer.clone.report()["commit"] == signer.commit

    (signer.clone.folder / ".gitignore").unlink()
    signer.clone.run("check")
    assert signer.clone.report()["commit"] is None


@pytest.mark.parametrize("change", ["a commit", "a file"])
def test_a_report_of_other_files_is_refused(signer: Signer, change: str) -> None:
    """Be they those of the last commit, or of none."""
    more = signer.clone.folder / ".gitignore"
    if change == "a file":
        more.write_text(more.read_text() + "#", "utf-8")
    report = checked(signer, str(signer.desk / "results"))
    more.write_text(more.read_text() + "##", "utf-8")
    last, _ = signer.commit, commit_all(signer.clone.folder)

    ran = signer.sign_off("--from", str(report))

    found = last if change == "a commit" else "none, or changed files"
    message = f"report.json: the commit\n    expected {signer.commit}\n    found {found}"
    assert_not_signed(signer, ran, message, code=4)


def test_a_change_of_the_matrix_that_git_overlooks_is_noticed(signer: Signer) -> None:
    """It would be checked by other settings than those of the commit."""
    git(signer.clone.folder, "update-index", "--assume-unchanged", "repro-gate.toml")
    matrix = signer.clone.folder / "repro-gate.toml"
    matrix.write_text(f"{matrix.read_text('utf-8')}\n", "utf-8")

    assert_not_signed(signer, signer.sign_off(), "found repro-gate.toml\n", code=4)


def test_a_link_is_no_folder_for_evidence(signer: Signer) -> None:
    """Nothing behind it is removed."""
    there = signer.desk / "there"
    there.mkdir()
    (there / "evidence.dsse.json").touch()
    (signer.clone.folder / "out").symlink_to(there)

    ran = signer.sign_off("--output", "out")

    assert_not_signed(signer, ran, "out: expected a folder to write into", code=3)
    assert (there / "evidence.dsse.json").exists()


def test_files_that_change_during_the_check_are_noticed(signer: Signer) -> None:
    """The work tree is verified again at its end."""
    signer.clone.write_script({"method": "generate", "prompt": "Say fox", "sleep": 0.5})

    gate = signer.clone.start("sign-off", "--key", str(signer.key("alice")))
    signer.clone.wait_until_asked("Say haiku")
    (signer.clone.folder / "new").touch()

    assert_not_signed(signer, ended(gate), "found new\n", code=4)


def test_everything_that_is_missing_is_listed_at_once(signer: Signer) -> None:
    """With what to do, and the evidence of the last release is gone."""
    assert signer.sign_off().code == 0
    (signer.clone.snapshots / "models.json").unlink()
    git(signer.clone.folder, "commit", "--quiet", "--no-gpg-sign", "-a", "--message", "x")
    (signer.clone.folder / "y").touch()

    ran = signer.sign_off()

    assert (ran.code, ran.err) == (4, "")
    assert ran.out.splitlines() == [
        "nothing was signed: 2 conditions are not satisfied; nothing was checked",
        "  commit: work tree",
        f"    expected the files of {signer.commit} and no others",
        "    found y",
        "    commit, remove or ignore these files (git status)",
        "  model: tiny",
        "    expected a model that the commit pins by sha256",
        "    found none",
        "    set its sha256 in the matrix, or commit models.json of the snapshots",
    ]
    assert [file.name for file in signer.evidence.iterdir()] == ["report.json"]


def openssl_key(signer: Signer, *arguments: str) -> Path:
    """Return a private key as openssl makes it."""
    file = signer.desk / "made.pem"
    command = ["openssl", "genpkey", *arguments, "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    file.chmod(0o600)
    return file


def test_a_key_of_openssl_signs(signer: Signer) -> None:
    """And its password never shows."""
    key = openssl_key(signer, "-algorithm", "ed25519", "-aes256", "-pass", "pass:hunter22")

    ran = signer.sign_off("--key", str(key))
    assert_not_signed(signer, ran, "found an encrypted key; set REPRO_GATE_KEY_PASSWORD", code=3)

    shutil.copy(key, signer.desk / "only.pem")
    password = {"REPRO_GATE_KEY_PASSWORD": "hunter22"}
    ran = signer.clone.run("sign-off", "--key", str(signer.desk / "only.pem"), **password)
    assert (ran.code, "hunter22" in ran.out + ran.err) == (0, False)


def readable_by_others(signer: Signer) -> Path:
    """Return a key that its owner did not protect."""
    file = signer.key("bob")
    file.chmod(0o640)
    return file


@pytest.mark.parametrize(
    ("key", "code", "message"),
    [
        pytest.param(
            readable_by_others, 3, "bob.pem: expected a file that only its owner can", id="open"
        ),
        pytest.param(
            lambda signer: openssl_key(signer, "-algorithm", "ed448"),
            3,
            "found a key of another kind",
            id="another-kind",
        ),
        pytest.param(
            lambda signer: signer.key("alice"), 2, "give each key, and each name of", id="twice"
        ),
        pytest.param(
            lambda signer: shutil.copy(signer.key("alice"), signer.desk / "again.pem"),
            2,
            "give each key, and each name of a file, once",
            id="under-two-names",
        ),
        pytest.param(lambda signer: signer.desk / "none.pem", 3, "none.pem: expected", id="none"),
    ],
)
def test_a_wrong_key_signs_nothing(signer: Signer, key: Change, code: int, message: str) -> None:
    """Before anything is measured, and no byte of a key shows."""
    ran = signer.sign_off("--key", str(key(signer)))

    assert_not_signed(signer, ran, message, code=code)
    assert signer.clone.asked() == []
    assert "PRIVATE" not in ran.out + ran.err


# Waivers.


def test_a_waived_drift_is_signed_and_accepted(signer: Signer) -> None:
    """From the finding to the recipient who allows it, and to one who does not."""
    signer.drift()
    assert_not_signed(signer, signer.sign_off(), f"test: {FOX}", code=10)

    ran = signer.waive(FOX, "--issue", "https://example.org/1", "--output", "w.dsse.json")
    assert ran.code == 0, ran
    assert without_times(ran.out).splitlines() == [
        f"waived until {LATER}: {FOX}",
        "  finding: sha256 DIGEST",
        "  signed by: carol, key id DIGEST",
        "  use it with: repro-gate sign-off --waiver w.dsse.json",
    ]
    ran = signer.sign_off("--waiver", "w.dsse.json")
    assert ran.code == 0, ran
    assert "  tests: 3 passed, 1 with waived drift\n" in ran.out
    page = (signer.evidence / "signoff.md").read_text()
    assert f"| `{FOX}` | `a tokenizer fix` | {LATER}T23:59:59Z | `https://example.org/1` |" in page

    recipient = signer.recipient(waivers=WAIVERS)
    ran = recipient.verify()
    assert ran.code == 0, ran
    assert "  waiver: waivers/w.dsse.json, signed by carol\n" in ran.out
    refused = signer.recipient().verify()
    assert (refused.code, "expected no waivers" in refused.out) == (10, True)


def test_a_waiver_of_another_drift_is_refused(signer: Signer) -> None:
    """As is one of another commit, and one that nothing needs."""
    signer.drift()
    signer.sign_off()
    assert signer.waive(FOX, "-o", str(signer.desk / "w.dsse.json")).code == 0
    waiver = ("--waiver", str(signer.desk / "w.dsse.json"))

    signer.clone.write_script()
    ran = signer.sign_off(*waiver)
    assert_not_signed(signer, ran, "none; the waiver is not used", code=10)

    other = {"tokens": [[9, b" 9".hex()]]}
    signer.clone.write_script(
        {"method": "generate", "prompt": "Say fox", "seed": 1, "result": other}
    )
    ran = signer.sign_off(*waiver)
    assert_not_signed(signer, ran, "expected the waiver of the finding", code=10)

    signer.drift()
    (signer.clone.folder / "more").touch()
    commit_all(signer.clone.folder)
    ran = signer.sign_off(*waiver)
    assert_not_signed(signer, ran, "expected a waiver for the commit", code=10)


@pytest.mark.parametrize(
    ("names", "code", "message"),
    [
        pytest.param(
            ["w\N{LATIN SMALL LETTER E WITH ACUTE}.json"],
            3,
            "expected a plain file name in waivers/",
            id="that-a-recipient-cannot-read",
        ),
        pytest.param(["a/w.json", "b/w.json"], 2, "give each name of a file once", id="twice"),
        pytest.param(["w.json", "W.json"], 2, "must differ in more than case", id="alike"),
    ],
)
def test_waivers_have_names_of_their_own(
    signer: Signer, names: list[str], code: int, message: str
) -> None:
    """As they lie in one folder on any system."""
    signer.drift()
    signer.sign_off()
    files = [signer.desk / name for name in names]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        assert signer.waive(FOX, "--output", str(file)).code == 0

    asked = len(signer.clone.asked())
    ran = signer.sign_off(*(word for file in files for word in ("--waiver", str(file))))

    assert_not_signed(signer, ran, message, code=code)
    assert (len(signer.clone.asked()) == asked) is (code == ExitCode.USAGE_INVALID)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        pytest.param({"test": "x"}, 2, "--test 'x' is not in this report", id="unknown"),
        pytest.param({"until": "tomorrow"}, 2, "--until is a day such as", id="no-day"),
        pytest.param({"until": "2020-01-01"}, 2, "--until is a day within the next 90", id="past"),
        pytest.param({"repository": "x"}, 2, "--repository: a repository is", id="no-address"),
    ],
)
def test_a_wrong_waiver_is_not_signed(
    signer: Signer, options: dict[str, str], code: int, message: str
) -> None:
    """Nothing is written."""
    signer.drift()
    signer.sign_off()

    ran = signer.waive(options.pop("test", FOX), **options)

    assert (ran.code, message in ran.err) == (code, True), ran
    assert list(signer.clone.folder.glob("*.dsse.json")) == []


# Countersigning.


def test_a_second_signature_meets_a_threshold_of_two(signer: Signer) -> None:
    """It is asked for after a look at what is signed."""
    assert signer.sign_off().code == 0
    both = {"threshold": 2, "keys": ["alice", "bob"]}
    assert signer.recipient(signers=both).verify().code == 10
    sign = ("countersign", "report/sign-off", "--key", str(signer.key("bob")))

    asked = signer.clone.run(*sign)
    assert (asked.code, "cannot be confirmed" in asked.err) == (2, True)
    assert f"| commit | `{signer.commit}` |" in asked.out
    assert signer.recipient(signers=both).verify().code == 10

    done = signer.clone.run(*sign, "--yes")
    assert done.out.splitlines()[-1] == f"signed by bob, key id {key_of('bob').public.id}"
    assert signer.recipient(signers=both).verify().code == 0
    assert (
        f"| `bob` | `{key_of('bob').public.id}` |" in (signer.evidence / "signoff.md").read_text()
    )


def test_a_key_signs_once(signer: Signer) -> None:
    """Another time changes nothing and is no mistake."""
    signer.sign_off()
    before = (signer.evidence / "evidence.dsse.json").read_bytes()

    key = signer.key("alice")
    ran = signer.clone.run("countersign", "report/sign-off", "--key", str(key), "--yes")

    last = f"alice has signed it before, key id {key_of('alice').public.id}"
    assert (ran.code, ran.out.splitlines()[-1]) == (0, last)
    assert (signer.evidence / "evidence.dsse.json").read_bytes() == before


def edited(signer: Signer, change: Callable[[Any], object]) -> None:
    """Let alice sign other data."""
    recipient = signer.recipient()
    data = recipient.payload_data()
    change(data)
    recipient.sign(data, "alice")
    shutil.copy(recipient.envelope, signer.envelope)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        pytest.param(
            lambda signer: edited(signer, lambda data: data["predicate"]["passedTests"].pop()),
            10,
            "result: passedTests",
            id="a-test-less",
        ),
        pytest.param(
            lambda signer: (signer.evidence / "report.json").write_text("{}"),
            10,
            "configuration: report.json",
            id="another-report",
        ),
        pytest.param(
            lambda signer: edited(
                signer, lambda data: data["subject"][0]["digest"].update(gitCommit="ab" * 20)
            ),
            4,
            "is not in the repository at",
            id="an-unknown-commit",
        ),
        pytest.param(
            lambda signer: edited(signer, lambda data: data["predicate"]["configuration"].pop(0)),
            3,
            "expected one matrix, found 0",
            id="no-matrix",
        ),
        pytest.param(
            lambda signer: edited(signer, lambda data: data.update(predicateType="x")),
            3,
            "predicateType: expected https://in-toto.io/attestation/test-result/v0.1",
            id="something-else",
        ),
        pytest.param(
            lambda signer: signer.envelope.unlink(), 4, "nothing to verify", id="no-evidence"
        ),
    ],
)
def test_what_does_not_follow_from_the_commit_is_not_countersigned(
    signer: Signer, change: Change, code: int, message: str
) -> None:
    """Whoever signed it before."""
    assert signer.sign_off().code == 0
    change(signer)
    before = signer.envelope.read_bytes() if signer.envelope.exists() else b""

    ran = signer.clone.run(
        *("countersign", "report/sign-off", "--key", str(signer.key("bob")), "--yes")
    )

    assert ran.code == code, ran
    assert message in ran.out + ran.err
    assert "signed by bob" not in ran.out
    assert before == (signer.envelope.read_bytes() if signer.envelope.exists() else b"")


def test_no_number_in_the_statement_has_a_fraction(signer: Signer) -> None:
    """It would not be the same in every reader."""
    assert signer.sign_off().code == 0

    text = json.dumps(signer.recipient().payload_data())
    json.loads(text, parse_float=pytest.fail)


# Tampering with what this command wrote.


def appended(file: Path) -> None:
    """Add a byte to a file."""
    file.write_bytes(file.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("report.json", "configuration: report.json"),
        ("waivers/w.dsse.json", "configuration: waivers/w.dsse.json"),
        ("../tiny.gguf", "artifact: tiny.gguf"),
        ("../clone/repro-gate.toml", "commit: subject"),
        ("../clone/snapshots/models.json", "commit: subject"),
    ],
)
def test_a_byte_more_anywhere_is_refused(signer: Signer, place: str, message: str) -> None:
    """By the recipient, each with its own message."""
    signer.drift()
    signer.sign_off()
    signer.waive(FOX, "--output", "w.dsse.json")
    assert signer.sign_off("--waiver", "w.dsse.json").code == 0
    recipient = signer.recipient(waivers=WAIVERS)
    assert recipient.verify().code == 0

    appended(recipient.evidence / place)
    if "clone" in place:
        commit_all(recipient.clone.folder)
    ran = recipient.verify()

    assert (ran.code, message in ran.out) == (10, True), ran


def test_a_report_of_another_matrix_file_is_not_signed(signer: Signer) -> None:
    """Of the same commit and with the same cells, but perhaps on another engine."""
    folder = signer.clone.folder
    shutil.copy(folder / "repro-gate.toml", folder / "other.toml")
    commit_all(folder)
    assert signer.clone.run("check", "--config", "other.toml", "--output", ".repro-gate").code == 0

    ran = signer.sign_off("--from", ".repro-gate")

    assert (ran.code, signer.envelope.exists()) == (4, False)
    assert "report: report.json: matrix file\n    expected repro-gate.toml\n" in ran.out
    assert "    found other.toml\n" in ran.out


def test_the_envelope_that_is_named_is_countersigned(signer: Signer) -> None:
    """Another one in its folder stays as it is."""
    signer.sign_off()
    copy, before = signer.evidence / "copy.dsse.json", signer.envelope.read_bytes()
    copy.write_bytes(before)

    ran = signer.clone.run("countersign", str(copy), "--key", str(signer.key("bob")), "--yes")

    assert ran.code == 0
    assert signer.envelope.read_bytes() == before
    assert len(json.loads(copy.read_text("ascii"))["signatures"]) == 2


def test_files_that_another_command_has_changed_are_not_signed(signer: Signer) -> None:
    """Two sign-offs into one folder would take each other's report."""
    assert signer.clone.run("check", "--output", ".repro-gate").code == 0
    script = """
import os, sys
from pathlib import Path
from typer.testing import CliRunner
from repro_gate.cli.app import app
from repro_gate.cli.release import sign_off
write = sign_off._write
def write_and_lose(folder, texts):
    write(folder, texts)
    Path(folder, "report.json").write_text("{}")
sign_off._write = write_and_lose
ran = CliRunner().invoke(app, sys.argv[1:])
print(ran.output)
sys.exit(ran.exit_code)
"""
    given = ("sign-off", "--key", str(signer.key("alice")), "--from", ".repro-gate")
    ran = subprocess.run(
        [sys.executable, "-c", script, *given],
        cwd=signer.clone.folder,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (ran.returncode, signer.envelope.exists()) == (4, False)
    assert "another command has changed the files in report/sign-off" in ran.stdout


def test_a_signature_that_was_not_verified_has_no_name(signer: Signer) -> None:
    """Anybody can write the key id of somebody else beside any bytes."""
    signer.sign_off()
    data = json.loads(signer.envelope.read_text("ascii"))
    claimed = key_of("bob").public.id
    data["signatures"].append({"keyid": claimed, "sig": base64.b64encode(bytes(64)).decode()})
    signer.envelope.write_text(json.dumps(data), "ascii")

    sign = ("countersign", "report/sign-off", "--key", str(signer.key("bob")))
    shown = signer.clone.run(*sign)
    signed = signer.clone.run(*sign, "--yes")

    assert f"| `claimed, not verified here` | `{claimed}` |" in shown.out
    assert "`bob`" not in shown.out
    assert signed.code == 0
    assert f"| `bob` | `{claimed}` |" in (signer.evidence / "signoff.md").read_text("utf-8")


def test_the_work_tree_is_no_folder_of_a_report(signer: Signer) -> None:
    """Every file in it would be one that the command line names."""
    assert signer.clone.run("check", "--output", ".").code == 0

    ran = signer.sign_off("--from", ".", "--output", str(signer.desk / "evidence"))

    assert ran.code == 4
    assert "report.json" in ran.out


def test_a_suite_against_another_profile_is_not_signed_off(signer: Signer) -> None:
    """Its verdicts follow from no golden of its machine."""
    suite = matrix_of(signer.clone.engine())["suites"]["quick"]
    against = {**suite, "kind": "reference", "against": PROFILE}
    signer.clone.write_matrix(suites={"quick": against})
    commit_all(signer.clone.folder)

    ran = signer.sign_off()

    message = f"the suite quick is against {PROFILE}: only a suite with goldens of its own machine"
    assert_not_signed(signer, ran, message, code=2)
