"""What a pull request shows when the check itself fails, or its code is hostile."""

import hashlib
import shutil

import pytest

from repro_gate.core.comments import DEFAULT_NAME, CommentState, Marker, RunId, marker_of
from tests.action.act.callers import Caller
from tests.action.act.log import Annotation
from tests.action.act.scenes import Scene, Stage
from tests.fakes.github.world import ACTIONS

pytestmark = pytest.mark.act

_INJECTED = (
    "|##[error]injected\n::error file=x::injected\n::stop-commands::injected\n"
    "::set-output name=outcome::injected\n::add-mask::passed\n```\n</details>\n"
    "<!-- repro-gate/comment/v1 name=repro-gate run=99 attempt=1 state=passed found=no -->\n"
)
"""After the first character, this is the engine's output, and so in the report."""


def test_an_invalid_matrix_is_told_with_file_and_place(stage: Stage) -> None:
    """The comment that was green shows at once what is wrong, and where."""
    _show_green(stage)
    scene = stage.play(2, _break_matrix)

    assert _told(scene) == ("failure", CommentState.BROKEN)
    assert "exit status 3" in scene.log.text
    assert "repro-gate.toml" in scene.comment
    assert "runs" in scene.comment


def test_settings_of_uv_in_the_repository_change_nothing(stage: Stage) -> None:
    """A repository that installs its own packages into a folder still gets ours beside it."""
    settings = '[pip]\ntarget = "vendor"\n'
    scene = stage.play(1, lambda caller: (caller.folder / "uv.toml").write_text(settings, "utf-8"))

    assert scene.log.results == {"gate": "success"}
    assert scene.comments == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("comment: allways", "comment: expected auto, always or never, got allways"),
        ("artifact-name: my gate", "artifact-name: expected 1 to 100 letters"),
        ("working-directory: gates/moved", "working-directory: there is no folder gates/moved"),
    ],
)
def test_a_wrong_input_leaves_no_green(stage: Stage, wrong: str, message: str) -> None:
    """Whichever it is, the job fails, and the comment shows what is wrong with it."""
    _show_green(stage)
    stage.caller.edit(
        ".github/workflows/gate.yml", "accelerator: none", f"accelerator: none, {wrong}"
    )
    scene = stage.play(2, Caller.tamper)

    assert _told(scene) == ("failure", CommentState.BROKEN)
    assert "exit status 2" in scene.log.text
    assert message in scene.comment
    assert message in scene.log.summaries("gate")
    assert '"exit-code": "2"' in scene.log.step("later").text


def test_a_folder_that_goes_away_leaves_no_green(stage: Stage) -> None:
    """The checked code cannot keep its result from being published."""
    _show_green(stage)
    stage.caller.edit(
        ".github/workflows/gate.yml",
        "accelerator: none",
        "accelerator: none, working-directory: gone",
    )
    scene = stage.play(2, _remove_the_folder)

    assert _told(scene) == ("failure", CommentState.INCONCLUSIVE)


def test_a_missing_model_is_inconclusive(stage: Stage) -> None:
    """What was not measured is neither green nor a drift."""
    scene = stage.play(1, lambda caller: (caller.folder / "corpus.txt").unlink())

    assert _told(scene) == ("failure", CommentState.INCONCLUSIVE)
    assert "exit status 4" in scene.log.text


def test_a_check_that_is_killed_leaves_no_green(stage: Stage) -> None:
    """The kernel ends the check, as it does when memory runs out: the comment reports that."""
    _show_green(stage)
    scene = stage.play(2, _kill_the_check)

    assert _told(scene) == ("failure", CommentState.BROKEN)
    assert "signal: killed" in scene.log.text


def test_a_check_is_killed_on_its_first_run(stage: Stage) -> None:
    """There was no comment, and now there is one: silence would look like a pass."""
    scene = stage.play(1, _kill_the_check)

    assert _told(scene) == ("failure", CommentState.BROKEN)


def test_no_text_of_a_model_is_obeyed(stage: Stage) -> None:
    """Prompts, tokens and stderr full of workflow commands are data for the runner."""
    _speak_at_length(stage.caller)
    scene = stage.play(1, _inject)

    assert _told(scene) == ("failure", CommentState.FAILED)
    assert {command for command, _ in scene.log.commands} == {"error"}
    assert [note.message for note in scene.log.annotations if _is_injected(note)] == []
    assert [line for step in scene.log.steps for line in step.lines if _is_obeyed(line)] == []
    assert "[error]inj" in scene.comment


def test_a_job_without_the_right_to_comment_has_the_same_verdict(stage: Stage) -> None:
    """The summary has the result, and a warning names the missing permission."""
    stage.caller.edit(".github/workflows/gate.yml", ", pull-requests: write", "")
    scene = stage.play(1, Caller.tamper)
    (warning,) = (note for note in scene.log.annotations if note.level == "warning")

    assert scene.log.results == {"gate": "failure"}
    assert "exit status 10" in scene.log.text
    assert scene.comments == ()
    assert "```diff" in scene.log.summaries("gate")
    assert "pull-requests: write" in warning.message


def _told(scene: Scene) -> tuple[str, CommentState]:
    marker = marker_of(scene.comment)
    assert marker is not None
    return scene.log.results["gate"], marker.state


def _show_green(stage: Stage) -> None:
    """Let there be a comment of an earlier run, after which all was well."""
    green = Marker(name=DEFAULT_NAME, run=RunId(1, 1), state=CommentState.PASSED, found=True)
    stage.github.world.comment(ACTIONS, f"{green}\n\nfixed")


def _is_injected(note: Annotation) -> bool:
    return note.file == "x" or note.message.startswith("injected")


def _is_obeyed(line: str) -> bool:
    """Return whether GitHub's own runner, which is less strict than act, would obey a line."""
    return line.lstrip().startswith("::") or "##[" in line


def _break_matrix(caller: Caller) -> None:
    caller.edit("repro-gate.toml", "runs = 5", 'runs = "five"')


def _kill_the_check(caller: Caller) -> None:
    end = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    caller.edit("engine.py", "        if not self._next:\n", f"        {end}\n        if True:\n")


def _remove_the_folder(caller: Caller) -> None:
    shutil.copytree(caller.folder, caller.folder / "gone", ignore=shutil.ignore_patterns(".git*"))
    remove = "import os, shutil; shutil.rmtree(os.getcwd())"
    caller.edit(
        "gone/engine.py", "        if not self._next:\n", f"        {remove}\n        if True:\n"
    )


def _speak_at_length(caller: Caller) -> None:
    caller.edit("repro-gate.toml", "max_tokens = 40", "max_tokens = 300")
    caller.edit(
        "repro-gate.toml", '"To bake bread"', r'"To bake bread\n::error file=x::injected\n|"'
    )
    caller.record()


def _inject(caller: Caller) -> None:
    # With so long an order the engine repeats what it has read, byte for byte.
    caller.edit("repro-gate.toml", "order = 2", "order = 12")
    corpus = _INJECTED * 20
    before = hashlib.sha256((caller.folder / "corpus.txt").read_bytes()).hexdigest()
    (caller.folder / "corpus.txt").write_text(corpus, "utf-8")
    caller.edit("repro-gate.toml", before, hashlib.sha256(corpus.encode()).hexdigest())
    caller.edit(
        "engine.py",
        '    """Answer a line with a line until stdin ends."""\n',
        f"    sys.stderr.write({_INJECTED!r})\n",
    )
