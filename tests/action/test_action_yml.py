"""The action offers what the command line can do, and nothing else."""

import os
import re
import shutil
import subprocess

import pytest

from tests.action.files import ACTION, Step, document, inputs_in, steps_of, variables_of
from tests.docs.pages import listed, page

_PAGE = page("docs/reference/action.md")
_INPUTS = listed(_PAGE.sections()["Inputs"])
"""Each input with the options and variables that it sets."""
_STEPS = steps_of(ACTION)
_COMMANDS = [step for step in _STEPS if step.command is not None]
_GIVEN_BY_THE_ACTION = frozenset(
    {
        "REPRO_GATE_ARTIFACT",
        "REPRO_GATE_ARTIFACT_URL",
        "REPRO_GATE_OUTPUT",
        "REPRO_GATE_PAGE_URL",
    }
)
"""Options that the action itself sets: nobody needs an input for them."""


def _mask(key: str) -> "subprocess.CompletedProcess[str]":
    """Run the script that masks the key, as the runner would."""
    (step,) = (step for step in _STEPS if step.name == "Mask the key")
    bash = shutil.which("bash")
    assert bash is not None
    command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step.run]
    return subprocess.run(command, env={"KEY": key}, capture_output=True, check=False, text=True)


def _variables_set_by(step: Step) -> dict[str, str]:
    """Return the variables of a command's step, those that its script exports included."""
    exported = re.findall(r'export ([A-Z_]+)="\$([A-Z_]+)"', step.run)
    return {**step.env, **{name: step.env[source] for name, source in exported}}


def test_there_are_steps_to_look_at() -> None:
    """The tests of this file would agree with an empty list too."""
    commands = [step.command for step in _COMMANDS]
    assert commands == ["publish", "doctor", "check", "merge", "publish"]


@pytest.mark.parametrize("step", _COMMANDS, ids=lambda step: step.name)
def test_every_variable_is_one_of_an_option(step: Step) -> None:
    """A step sets no variable of ours that the command which it runs would not read."""
    ours = {name for name in step.env if name.startswith("REPRO_GATE_")}
    assert step.command is not None
    assert ours - set(variables_of(step.command)) == set()


@pytest.mark.parametrize("command", ["check", "doctor", "merge", "publish"])
def test_every_option_with_a_variable_can_be_asked_for(command: str) -> None:
    """What the command line can be asked by a variable, the action asks it by that variable."""
    set_ = {
        name for step in _COMMANDS if step.command == command for name in _variables_set_by(step)
    }
    assert set(variables_of(command)) - set_ == set()


def test_the_gpu_is_looked_for_where_the_check_will_look() -> None:
    """The doctor is asked for the engines and devices of the check, before it, with CUDA."""
    written = {step["name"]: step for step in document(ACTION)["runs"]["steps"]}
    doctor, check = written["Verify that the GPU is used"], written["Check"]
    assert doctor["if"] == (
        "${{ inputs.accelerator == 'cuda' && steps.library.outputs.key != '' }}"
    )
    assert doctor["env"].items() <= check["env"].items()
    assert doctor["run"] == 'exec "$COMMAND" doctor --expect-gpu'
    assert [*written].index(doctor["name"]) < [*written].index(check["name"])


def test_every_option_is_an_input() -> None:
    """Variables carry inputs, but for those with which the action ties its steps together."""
    without = {
        name
        for step in _COMMANDS
        for name, value in step.env.items()
        if name.startswith("REPRO_GATE_") and not inputs_in(value)
    }
    assert without == _GIVEN_BY_THE_ACTION


def test_every_input_is_used() -> None:
    """No input is declared that changes nothing."""
    text = ACTION.read_text("utf-8").partition("\nruns:")[2]
    assert set(document(ACTION)["inputs"]) == inputs_in(text)


def test_the_inputs_are_documented() -> None:
    """The reference has a row for each input, and no other."""
    assert set(_INPUTS) == set(document(ACTION)["inputs"])


def test_the_outputs_are_documented() -> None:
    """The reference has a row for each output, and no other."""
    assert set(listed(_PAGE.sections()["Outputs"])) == set(document(ACTION)["outputs"])


def test_the_reference_names_the_option_of_each_input() -> None:
    """The note of an input has the options that the variables of action.yml set."""
    documented = {
        (input_, spelling)
        for input_, note in _INPUTS.items()
        for spelling in re.findall(r"`(--[a-z-]+|DIR[.]*)`", note)
    }
    expected = {
        (input_, spelling)
        for step in _COMMANDS
        if step.command is not None
        for name, spelling in variables_of(step.command).items()
        for input_ in inputs_in(_variables_set_by(step).get(name, ""))
    }
    assert documented == expected


@pytest.mark.parametrize(
    ("given", "seen"), [("", "of.the.runner"), ("api.fireworks.ai", "api.fireworks.ai")]
)
def test_a_limit_of_the_runner_is_not_lifted_by_an_input_that_is_not_given(
    given: str, seen: str
) -> None:
    """An empty list would be no limit."""
    (step,) = (step for step in _COMMANDS if step.command == "check")
    bash = shutil.which("bash")
    assert bash is not None
    script = step.run.replace('exec "$COMMAND" check', "env")
    environ = {"ALLOWED_HOSTS": given, "API_KEY": "", "REPRO_GATE_ALLOWED_HOSTS": "of.the.runner"}
    command = [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    ran = subprocess.run(
        command,
        env={**environ, "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    )

    lines = ran.stdout.splitlines()
    assert [line for line in lines if "HOSTS" in line] == [f"REPRO_GATE_ALLOWED_HOSTS={seen}"]


def test_the_reference_and_the_description_name_the_same_default() -> None:
    """A default that action.yml fills in is the one of the reference."""
    section = _PAGE.sections()["Inputs"]
    defaults = dict(re.findall(r"^- `([a-z-]+)`.*; default `([^`]+)`$", section, re.MULTILINE))
    filled = {
        name: written["default"]
        for name, written in document(ACTION)["inputs"].items()
        if written["default"] and "${{" not in written["default"]
    }
    assert filled
    assert {name: defaults[name] for name in filled} == filled


@pytest.mark.parametrize("name", document(ACTION)["inputs"])
def test_every_input_describes_itself(name: str) -> None:
    """The description of an input names its default and its option."""
    description = document(ACTION)["inputs"][name]["description"]
    assert "Default" in description
    option = re.search(r"`(--[a-z-]+)`", _INPUTS[name])
    assert option is None or re.search(rf"Stands for {option[1]}(?![\w-])", description)


def test_the_marketplace_takes_the_description() -> None:
    """It refuses one of 125 or more characters."""
    assert 0 < len(document(ACTION)["description"].strip()) < 125


def test_a_job_whose_name_was_taken_fails_and_names_both() -> None:
    """After its result was published, with the name to change and the artifact it has."""
    (refuse,) = (step for step in _STEPS if step.id == "refuse")
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", refuse.run],
        env={"NAME": "gate", "UNIQUE_NAME": "gate-x1"},
        capture_output=True,
        check=False,
        text=True,
    )

    assert (_STEPS[-1], done.returncode) == (refuse, 2)
    assert done.stdout == (
        "::error title=repro-gate::another job or step of this run has uploaded its report as "
        "gate, so this one is in the artifact gate-x1: give each gate in a workflow "
        "its own artifact-name\n"
    )


def test_no_upload_replaces_one_of_its_own_attempt() -> None:
    """Only a later attempt overwrites, by the first job to claim the name in it."""
    uploads = [
        step
        for step in document(ACTION)["runs"]["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    uploaded = {
        step["id"]: (step["with"].get("name"), step["with"].get("overwrite")) for step in uploads
    }
    name = "${{ steps.gate.outputs.name }}"

    assert uploaded == {
        "claim": (f"attempt-${{{{ github.run_attempt }}}}-of-{name}", None),
        "upload": (name, "${{ github.run_attempt > 1 }}"),
        "again": ("${{ steps.gate.outputs.unique-name }}", None),
        # It has the name of its file, which is that of the uploaded folder.
        "open": (None, "${{ github.run_attempt > 1 }}"),
    }
    assert all(step["continue-on-error"] is True for step in uploads)


def test_all_outputs_come_from_the_step_that_publishes() -> None:
    """Each output is the one of the same name of the last step."""
    expected = {
        name: f"${{{{ steps.publish.outputs.{name} }}}}" for name in document(ACTION)["outputs"]
    }
    written = {name: output["value"] for name, output in document(ACTION)["outputs"].items()}
    (last,) = (step for step in _STEPS if step.id == "publish")
    assert (written, last.command) == (expected, "publish")


def test_every_script_names_its_shell() -> None:
    """All scripts are for bash, with which the runner stops at the first error."""
    assert {step.shell for step in _STEPS if step.run} == {"bash"}


def test_only_publishing_steps_have_the_token() -> None:
    """No other step needs it."""
    holders = {step.command for step in _STEPS if any("token" in v for v in step.env.values())}
    assert holders == {"publish"}


def test_the_key_is_for_the_check() -> None:
    """The key of a hosted model is given to the check, and to the step that masks it."""
    holders = [step.name for step in _STEPS if any("api-key" in v for v in step.env.values())]
    assert holders == ["Mask the key", "Check"]


def test_the_key_is_masked_as_it_is() -> None:
    """The runner decodes percent signs in its commands."""
    done = _mask("fw_%0Akey$(id)`id`")
    assert (done.returncode, done.stdout) == (0, "::add-mask::fw_%250Akey$(id)`id`\n")


@pytest.mark.parametrize("key", ["fw_key\nrest", "two words", "fw_key\n::warning::x"])
def test_a_key_that_cannot_be_masked_is_refused(key: str) -> None:
    """A line break or a blank is a mistake in the secret, and its text is not shown."""
    done = _mask(key)
    assert done.returncode == 2
    assert done.stdout + done.stderr == (
        "::error title=repro-gate::api-key: expected one word of printable characters\n"
    )


def test_publishing_runs_in_any_folder() -> None:
    """It also reports that the working directory does not exist."""
    written = document(ACTION)["runs"]["steps"]
    publishing = [step for step in written if 'exec "$COMMAND" publish' in step.get("run", "")]
    assert [step.get("working-directory") for step in publishing] == [None, None]
    assert {step["env"]["FOLDER"] for step in publishing} == {"${{ inputs.working-directory }}"}
    assert publishing[-1]["if"] == "${{ always() && steps.gate.outputs.command != '' }}"


def test_later_steps_inherit_nothing() -> None:
    """The action leaves no variables and no paths to the rest of the job, and needs no root."""
    script = ACTION.parent / ".github" / "action" / "install.sh"
    text = ACTION.read_text("utf-8") + script.read_text("utf-8")
    words = ("GITHUB_ENV", "GITHUB_PATH", "secrets.", "sudo")
    assert [word for word in words if word in text] == []


def test_publishing_is_never_left_out() -> None:
    """Upload and result come after a failure and after a cancellation too."""
    last = document(ACTION)["runs"]["steps"][-2:]
    assert [step["if"].startswith("${{ always() &&") for step in last] == [True, True]
