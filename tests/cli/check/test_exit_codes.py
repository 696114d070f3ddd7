"""Every exit code, each reached by its cause."""

import errno

import pytest

from repro_gate.cli.paths import REPORT_FILES
from repro_gate.cli.terminal.console import file_remedy
from tests.cli.workspaces import Workspace, contents_of, ended

_FOX_1 = {"method": "generate", "prompt": "Say fox", "seed": 1}
_OTHER_TOKENS = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
_ONE_TOKEN = {"tokens": [[7, b" 7".hex()]] * 4}
_LIMIT = (
    # Python leaves half of a compiled module where it cannot write all of it.
    "os.environ['PYTHONDONTWRITEBYTECODE'] = '1'; import resource; "
    "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
)
_DRIFT = {**_FOX_1, "result": _OTHER_TOKENS}
_DEATH = {"method": "generate", "prompt": "Say haiku", "seed": 2, "signal": 9}


def test_agreement_is_0(recorded: Workspace) -> None:
    """A check in which every cell equals its golden exits with 0."""
    assert (recorded.run("check").code, set(recorded.verdicts().values())) == (0, {"match"})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["chekc"], "No such command 'chekc'"),
        (["check", "--nope"], "No such option: --nope"),
        (["check", "--runs", "0"], "Invalid value for '--runs'"),
        (["check", "--suite", "slow"], "there is no suite 'slow' in the matrix; it has: quick"),
        (
            ["check", "--device", "cuda:100"],
            "a device is cpu, BACKEND or BACKEND:N with N up to 99, where BACKEND is one of",
        ),
        (["models", "fetch", "huge"], "there is no model 'huge' in the matrix; it has: tiny"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_2(workspace: Workspace, arguments: list[str], text: str) -> None:
    """The message names what does not exist, and what does."""
    ran = workspace.run(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert text in ran.err


def test_a_broken_matrix_is_3(workspace: Workspace) -> None:
    """The message names the file, the place, what was expected and what was found."""
    workspace.write_matrix(runs="ten")

    ran = workspace.run("check")

    text = "repro-gate: repro-gate.toml: suites.quick.runs: expected an integer, found 'ten'\n"
    assert (ran.code, ran.out, ran.err) == (3, "", text)


def test_a_matrix_that_is_not_there_is_3(workspace: Workspace) -> None:
    """The file that is missing is named."""
    ran = workspace.run("check", "--config", "nowhere.toml")

    assert (ran.code, "nowhere.toml: expected a readable file" in ran.err) == (3, True)


def test_broken_goldens_are_3_and_all_named(recorded: Workspace) -> None:
    """Every broken golden is named before anything is generated."""
    recorded.golden("tiny--fox--seed1").write_text("{", "utf-8")
    recorded.golden("tiny--haiku--seed2").write_text('{"schema": "other"}', "utf-8")

    ran = recorded.run("check")

    files = [line.split(": ")[1].rpartition("/")[2] for line in ran.err.splitlines()]
    assert (ran.code, sorted(files)) == (3, ["tiny--fox--seed1.json", "tiny--haiku--seed2.json"])
    assert recorded.asked() == []


def test_a_check_of_nothing_is_4(recorded: Workspace) -> None:
    """A pattern without a match checks nothing, and the message shows an example of an id."""
    ran = recorded.run("check", "--only", "nothing")

    assert (ran.code, ran.out) == (4, "")
    assert "nothing was checked: no cell matches --only 'nothing'" in ran.err
    assert "--only 'tiny--haiku--seed1'" in ran.err


def test_a_missing_model_is_4_with_the_command_that_gets_it(recorded: Workspace) -> None:
    """The remedy is the command that fetches it."""
    models = {"tiny": {"engine": "scripted", "source": "hf:some-one/some-models/tiny.gguf"}}
    recorded.write_matrix(models=models)

    ran = recorded.run("check")

    assert (ran.code, recorded.asked()) == (4, [])
    assert "remedy      repro-gate models fetch tiny\n" in ran.out


def test_a_missing_engine_is_4(recorded: Workspace) -> None:
    """An engine that cannot start is named, and its cells are inconclusive."""
    engine = {"kind": "command", "command": ["no-such-engine"], "settings": {}}
    recorded.write_matrix(engines={"scripted": engine})

    ran = recorded.run("check")

    assert (ran.code, set(recorded.verdicts().values())) == (4, {"inconclusive"})
    assert "could not be started" in ran.out
    assert "no-such-engine" in ran.out


def test_an_unwritable_output_folder_is_4_before_the_work(recorded: Workspace) -> None:
    """The check does not start if its reports cannot be written."""
    (recorded.folder / "file").touch()

    ran = recorded.run("check", "--output", "file/reports")

    text = (
        "repro-gate: the reports cannot be written to file/reports: Not a directory\n"
        "  try: move away the file or folder that is in the way; "
        "or name another folder with --output\n"
    )
    assert (ran.code, ran.out, ran.err) == (4, "", text)
    assert recorded.asked() == []


def test_a_full_output_folder_is_4_after_the_verdict(recorded: Workspace) -> None:
    """A disk that fills up on the way takes the reports, and not the verdict."""
    limit = _LIMIT.format(4096)

    ran = ended(recorded.start("check", "--quiet", after=limit))

    text = "repro-gate: the reports cannot be written to .repro-gate: File too large\n"
    assert (ran.code, ran.err) == (4, text)
    assert ran.out.startswith("passed: 4 match")


def test_a_full_output_folder_of_an_update_is_no_errno(recorded: Workspace) -> None:
    """The reason is that of the system, as for any other refused file."""
    ran = ended(recorded.start("update-snapshots", after=_LIMIT.format(1024)))

    assert (ran.code, recorded.engines_alive()) == (4, [])
    assert "repro-gate: .repro-gate/runs.jsonl: File too large\n" in ran.err


@pytest.mark.parametrize("name", REPORT_FILES)
def test_no_report_shows_a_pass_when_one_could_not_be_written(
    recorded: Workspace, name: str
) -> None:
    """Whichever report does not fit; nor is a shard left behind."""
    assert recorded.run("check", "--shard", "1/1").code == 0
    # The times that are in the files make them a few bytes longer or shorter.
    limit = _LIMIT.format((recorded.output / name).stat().st_size - 50)

    ran = ended(recorded.start("check", "--shard", "1/1", "--quiet", after=limit))

    left = {file.name for file in recorded.output.iterdir()} & {*REPORT_FILES}
    assert (ran.code, left - {"report.json"}) == (4, set())
    assert all(b"unfinished" in (recorded.output / name).read_bytes() for name in left)


def test_a_finding_is_10_without_its_reports(recorded: Workspace) -> None:
    """A full disk does not make a finding harmless."""
    recorded.write_script(_DRIFT)
    limit = _LIMIT.format(4096)

    assert ended(recorded.start("check", "--quiet", after=limit)).code == 10


def test_an_output_folder_that_no_system_has_is_2(recorded: Workspace) -> None:
    """A name of 300 characters is a mistake on the command line, and no crash."""
    ran = recorded.run("check", "--output", "a" * 300)

    assert (ran.code, "File name too long" in ran.err) == (2, True)
    assert "Traceback" not in ran.err


def test_little_memory_is_no_crash(recorded: Workspace) -> None:
    """A matrix of 1 KB does not need the memory of the largest allowed one."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (100_000 << 10,) * 2)"

    ran = ended(recorded.start("check", "--only", "nothing", after=limit))

    assert (ran.code, "nothing was checked" in ran.err) == (4, True)


def test_other_tokens_are_10(recorded: Workspace) -> None:
    """Tokens that every run agrees on, and the golden does not, fail the check."""
    recorded.write_script(_DRIFT)

    assert recorded.run("check").code == 10
    assert recorded.cell("tiny--fox--seed1")["verdict"]["kind"] == "drift"


def test_runs_that_differ_are_10(recorded: Workspace) -> None:
    """One of two runs with other tokens fails the check, and the report names the run."""
    recorded.write_script({**_DRIFT, "time": 2})

    ran = recorded.run("check")

    text = "nondeterministic  tiny--fox--seed1\n  run 2, in a fresh process, differs from run 1"
    assert (ran.code, ran.out.startswith(text)) == (10, True)


def test_an_engine_that_repeats_one_token_for_ever_is_10(workspace: Workspace) -> None:
    """Its cells prove nothing by agreeing, and none of them is recorded."""
    workspace.write_script({"method": "generate", "result": _ONE_TOKEN})

    codes = [workspace.run("update-snapshots", "--yes").code, workspace.run("check").code]

    assert (codes, set(workspace.verdicts().values())) == ([10, 10], {"vacuous"})
    assert not workspace.golden("tiny--fox--seed1").exists()


def test_a_missing_golden_is_10(recorded: Workspace) -> None:
    """A cell without a golden does not pass."""
    recorded.golden("tiny--fox--seed1").unlink()

    assert recorded.run("check").code == 10
    assert recorded.verdicts()["tiny--fox--seed1"] == "unrecorded"


def test_a_golden_left_over_is_10(recorded: Workspace) -> None:
    """A golden whose cell has gone from the matrix is a finding."""
    recorded.write_matrix(prompts=["haiku"])

    assert recorded.run("check").code == 10
    assert recorded.verdicts()["tiny--fox--seed1"] == "orphaned"


def test_an_engine_that_ignores_its_seed_is_10(workspace: Workspace) -> None:
    """It fails even where every token matches its golden."""
    workspace.write_matrix(prompts=["fox"], seeds=[1])
    workspace.write_script(_DRIFT)
    workspace.record()
    # Whatever the seed is now, the answer is that of seed 1.
    workspace.write_script({"method": "generate", "result": _OTHER_TOKENS})

    ran = workspace.run("check")

    assert (ran.code, workspace.verdicts()) == (10, {"tiny--fox--seed1": "vacuous"})
    assert (
        "no other seed changes the output of this model, not even at a high temperature" in ran.out
    )


def test_nothing_is_recorded_of_an_engine_that_ignores_its_seed(workspace: Workspace) -> None:
    """A golden of it could never fail."""
    workspace.write_matrix(prompts=["fox"], seeds=[1])
    workspace.write_script({"method": "generate", "result": _OTHER_TOKENS})

    ran = workspace.run("update-snapshots", "--yes")

    assert ran.code == 10
    assert "refused    tiny--fox--seed1: vacuous: no other seed changes the output" in ran.out
    assert "try: Make the engine use the seed, or set temperature = 0" in ran.out
    assert not workspace.golden("tiny--fox--seed1").exists()


def test_10_beats_4(recorded: Workspace) -> None:
    """A finding is a finding even when something else could not be measured."""
    recorded.write_script(_DRIFT, _DEATH)

    assert recorded.run("check").code == 10
    assert {"drift", "inconclusive"} <= set(recorded.verdicts().values())


def test_fail_on_never_hides_a_finding_from_the_shell_only(recorded: Workspace) -> None:
    """The report still has the real exit code."""
    recorded.write_script(_DRIFT)

    assert recorded.run("check", "--fail-on", "never").code == 0
    assert (recorded.document()["outcome"], recorded.document()["exit_code"]) == ("failed", 10)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--suite", "typo"], 2), (["--only", "no*"], 4), (["--shard", "2/1"], 2)],
)
def test_an_invalid_command_line_leaves_the_last_reports(
    recorded: Workspace, arguments: list[str], code: int
) -> None:
    """A typo does not remove the reports of the check before."""
    recorded.run("check")
    before = contents_of(recorded.output)

    ran = recorded.run("check", *arguments)

    assert (ran.code, contents_of(recorded.output)) == (code, before)


def test_a_dry_run_counts_tokens_and_names_missing_models(recorded: Workspace) -> None:
    """The work is known beforehand, and so is what it lacks."""
    (recorded.folder / "tiny.gguf").unlink()

    ran = recorded.run("check", "--dry-run")

    assert (ran.code, ran.out) == (
        4,
        (
            "tokens: 4 cells, 8 runs of at most 32 tokens in all, plus controls\n"
            "model tiny is missing: put the file there, or correct the source of models.tiny in "
            "the matrix\n"
            "nothing was checked (dry run)\n"
        ),
    )


def test_a_dry_run_prints_no_json(recorded: Workspace) -> None:
    """A program that reads JSON gets a clear error, not text that it cannot parse."""
    ran = recorded.run("check", "--dry-run", "--json")

    text = "repro-gate: --dry-run prints no JSON: leave out --json\n"
    assert (ran.code, ran.out, ran.err) == (2, "", text)


def test_a_dry_run_that_fails_leaves_the_last_reports(recorded: Workspace) -> None:
    """It checks nothing, whether it goes well or not."""
    recorded.run("check")
    before = contents_of(recorded.output)
    recorded.write_matrix(runs="ten")

    assert recorded.run("check", "--dry-run").code == 3
    assert contents_of(recorded.output) == before


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space on the disk"),
        (errno.EACCES, "give this user permission"),
        (errno.ENOTDIR, "move away the file"),
        (errno.EIO, "check this path and its disk"),
    ],
)
def test_a_file_that_is_refused_has_a_remedy(number: int, remedy: str) -> None:
    """A full disk and a missing permission have different remedies."""
    assert file_remedy(OSError(number, "x")).startswith(remedy)
