"""Engines that die, hang or write without end: each is an `EngineFailed` with its cause."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.engines.process import EngineProcess
from repro_gate.errors import EngineFailed
from tests.fakes.processes import (
    DescribedEngineStarter,
    EngineStarter,
    children_of,
    command_spec,
    exists,
    failing,
    generated,
    is_running,
    speaking,
    wait_until_gone,
)
from tests.fakes.values import cell_of

HUGE_PROMPT = replace(cell_of(), text="x" * 2**20)
Children: TypeAlias = Callable[[], list[int]]


@pytest.fixture
def children() -> Children:
    """Return a function that lists the child processes that this test has started."""
    earlier = set(children_of(os.getpid()))
    return lambda: [pid for pid in children_of(os.getpid()) if pid not in earlier]


@pytest.mark.parametrize("fault", ["silent", "deaf", "drip", "pour"])
def test_an_engine_that_does_not_answer_in_time_is_killed(
    children: Children, failing_engine: DescribedEngineStarter, fault: str
) -> None:
    """Neither silence nor a trickle of bytes blocks the gate beyond the time limit."""
    engine = failing_engine(fault, timeout_s=0.3)
    (child,) = children()

    with pytest.raises(EngineFailed) as caught:
        engine.describe()

    assert str(caught.value) == "the engine did not answer 'describe' within 0.3 s and was killed"
    assert not exists(child)


def test_a_request_may_have_more_time_than_others() -> None:
    """Such as a load that has to wait for a server."""
    with closing(EngineProcess(failing("silent"), env={}, timeout_s=0.1)) as engine:
        usual, longer = engine.send(b"{}"), engine.send(b"{}", more_s=1000)
        with pytest.raises(EngineFailed, match=r"did not answer 'load' within 1000\.1 s"):
            engine.receive(deadline=usual, doing="load", more_s=1000)

    assert longer - usual > 900


@pytest.mark.parametrize("fault", ["deaf", "sip", "shut"])
def test_an_unread_request_does_not_block(
    failing_engine: DescribedEngineStarter, fault: str
) -> None:
    """A prompt larger than a pipe waits no longer for the engine than for its answer."""
    with pytest.raises(EngineFailed, match=r"^the engine did not answer 'generate' within 0\.5 s"):
        generated(failing_engine(fault, timeout_s=0.5), HUGE_PROMPT, trace=False)


def test_a_request_larger_than_a_pipe_arrives(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """It is written as fast as the engine reads it."""
    generated(speaking_engine(log=str(tmp_path / "log")), HUGE_PROMPT, trace=False)

    assert HUGE_PROMPT.text.encode() in (tmp_path / "log").read_bytes()


def test_a_broken_pipe_is_reported_as_the_death_of_the_engine(
    failing_engine: DescribedEngineStarter,
) -> None:
    """The broken pipe is not an error of its own."""
    with pytest.raises(EngineFailed, match=r"^the engine ended with exit code 3 at 'generate'$"):
        generated(failing_engine("leave"), HUGE_PROMPT, trace=False)


def test_answers_that_waited_for_the_gate_are_in_time(tmp_path: Path) -> None:
    """After Ctrl-Z every time limit is over, and more may be left to say than fits into a pipe."""
    answers = "import sys; sys.stdin.readline(); [print('x' * 30_000) for _ in range(20)]"
    command = (sys.executable, "-S", "-c", answers)
    process = EngineProcess(command, env={}, timeout_s=20, folder=tmp_path)
    with closing(process):
        first = process.receive(deadline=process.send(b"{}"), doing="generate")
        later = [process.receive(deadline=0, doing="generate") for _ in range(19)]

    assert [first, *later] == [b"x" * 30_000] * 20


def test_a_line_without_an_end_is_an_error(failing_engine: DescribedEngineStarter) -> None:
    """A runaway engine cannot fill the memory of the gate."""
    with pytest.raises(EngineFailed) as caught:
        failing_engine("flood").describe()

    assert str(caught.value) == "the engine answered 'describe' with more than 16777216 bytes"


def test_an_exit_is_reported_with_its_code(failing_engine: DescribedEngineStarter) -> None:
    """So is the request in which it happened."""
    with pytest.raises(EngineFailed) as caught:
        generated(failing_engine("exit"), cell_of(), trace=False)

    assert str(caught.value) == "the engine ended with exit code 3 at 'generate'"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("crash", "the engine was ended by SIGSEGV at 'describe'"),
        (
            "abort",
            (
                "the engine was ended by SIGABRT at 'describe'; its stderr ends with: "
                "GGML_ASSERT(n_tokens > 0) failed"
            ),
        ),
    ],
)
def test_a_death_by_signal_is_reported_with_its_name(
    failing_engine: DescribedEngineStarter, fault: str, message: str
) -> None:
    """A crash and a failed assertion can be distinguished, and stderr is quoted."""
    with pytest.raises(EngineFailed) as caught:
        failing_engine(fault).describe()

    assert str(caught.value) == message


def test_the_last_three_lines_of_stderr_are_quoted_safely(
    failing_engine: DescribedEngineStarter,
) -> None:
    """They are escaped, so they have no effect on a terminal."""
    with pytest.raises(EngineFailed) as caught:
        failing_engine("complain and exit").describe()

    assert str(caught.value) == (
        "the engine ended with exit code 3 at 'describe'; its stderr ends with: "
        r"second \x1b[31mred\x1b[0m\xe2\x80\xae / third / CUDA error: out of memory"
    )


def test_the_quoted_stderr_is_bounded(failing_engine: DescribedEngineStarter) -> None:
    """A megabyte on stderr neither blocks the engine nor fills the message."""
    with pytest.raises(EngineFailed) as caught:
        failing_engine("complain at length").describe()

    assert str(caught.value).endswith(f"; its stderr ends with: {'x' * 2000}")


def test_an_engine_that_closes_its_stdout_is_killed(
    children: Children, failing_engine: DescribedEngineStarter
) -> None:
    """Without its stdout it can never answer."""
    engine = failing_engine("hang up")
    (child,) = children()

    with pytest.raises(EngineFailed, match=r"^the engine closed its stdout at 'describe' and was"):
        engine.describe()

    assert not exists(child)


def test_a_death_is_noticed_although_a_grandchild_holds_the_pipe(
    failing_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Stdout stays open when a child of the engine still has it."""
    engine = failing_engine("leave a child", str(tmp_path / "pid"))

    with pytest.raises(EngineFailed, match=r"^the engine ended with exit code 3 at 'describe'$"):
        engine.describe()

    engine.close()
    wait_until_gone(int((tmp_path / "pid").read_text("ascii")))


def test_a_grandchild_dies_with_the_engine(
    failing_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Everything that an engine started is killed with it."""
    engine = failing_engine("work with a child", str(tmp_path / "pid"))

    with pytest.raises(EngineFailed, match=r"not protocol v1: nonsense$"):
        engine.describe()

    wait_until_gone(int((tmp_path / "pid").read_text("ascii")))


@pytest.mark.parametrize("fault", ["work with a daemon", "leave a daemon"])
def test_a_daemon_dies_with_the_engine(
    children: Children, failing_engine: DescribedEngineStarter, tmp_path: Path, fault: str
) -> None:
    """So is a process that left its group and its parent, even if the engine died first."""
    other = failing_engine("work with a daemon", str(tmp_path / "other"))
    engine = failing_engine(fault, str(tmp_path / "pid"))

    with pytest.raises(EngineFailed):
        engine.describe()
    engine.close()

    wait_until_gone(int((tmp_path / "pid").read_text("ascii")))
    assert is_running(children()[0])
    other.close()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("/no/such/engine", "[Errno 2] No such file or directory: '/no/such/engine'"),
        ("no-such-engine", "[Errno 2] No such file or directory: 'no-such-engine'"),
        ("/", "[Errno 13] Permission denied: '/'"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_a_program_that_cannot_be_started_fails_at_the_first_request(
    start: EngineStarter, program: str, reason: str
) -> None:
    """Starting never raises: the engine's cells become inconclusive, and the check continues."""
    engine = start(command_spec(program))

    with pytest.raises(EngineFailed) as caught:
        engine.describe()

    assert str(caught.value) == f"the engine could not be started: {reason}"


def test_a_file_that_is_not_executable_fails_at_the_first_request(
    start: EngineStarter, tmp_path: Path
) -> None:
    """The message names the file, which needs a chmod."""
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\n", "ascii")

    with pytest.raises(EngineFailed, match=f"Permission denied: '{program}'$"):
        start(command_spec(str(program))).describe()


def test_a_text_without_an_interpreter_fails_at_the_first_request(
    start: EngineStarter, tmp_path: Path
) -> None:
    """An executable file without a known format is not a crash of the gate."""
    program = tmp_path / "engine"
    program.write_text("print('hello')\n", "ascii")
    program.chmod(0o755)

    with pytest.raises(EngineFailed, match="Exec format error"):
        start(command_spec(str(program))).describe()


def test_a_closed_engine_fails_with_a_reason(speaking_engine: DescribedEngineStarter) -> None:
    """Asking a closed engine raises `EngineFailed`."""
    engine = speaking_engine()
    engine.close()

    with pytest.raises(EngineFailed, match=r"^the engine could not be started: closed$"):
        engine.describe()


def test_closing_leaves_no_process(
    children: Children, speaking_engine: DescribedEngineStarter
) -> None:
    """After `close` there is neither an engine nor a zombie, and a second `close` is allowed."""
    engine = speaking_engine(facts="pid")
    pid = int(engine.describe().facts["pid"])
    assert children() == [pid]

    engine.close()
    engine.close()

    assert children() == []


def test_closing_a_dead_engine_leaves_no_process(
    children: Children,
    failing_engine: DescribedEngineStarter,
) -> None:
    """A dead engine is closed like a running one."""
    engine = failing_engine("crash")
    with pytest.raises(EngineFailed):
        engine.describe()

    engine.close()

    assert children() == []


def test_closing_leaves_no_file_open(speaking_engine: DescribedEngineStarter) -> None:
    """One check may start hundreds of engines."""
    before = set(Path("/proc/self/fd").iterdir())
    engine = speaking_engine()
    engine.describe()

    engine.close()

    assert {file for file in Path("/proc/self/fd").iterdir() if file.exists()} <= before


def test_an_engine_is_closed_whatever_the_numbers_of_its_files(
    children: Children, speaking_engine: DescribedEngineStarter
) -> None:
    """A gate may inherit more than a thousand open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2048, before[0]), before[1]))
    with ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for _ in range(1024):
            files.enter_context(Path(os.devnull).open("rb"))
        speaking_engine().close()

    assert children() == []


def test_an_engine_runs_in_the_folder_of_the_matrix(tmp_path: Path) -> None:
    """A relative command means the same wherever the gate is started."""
    engine = EngineProcesses(tmp_path).start(command_spec(*speaking({"facts": "folder"})))
    with closing(engine):
        assert engine.describe().facts["folder"] == str(tmp_path)


def test_an_engine_that_was_started_early_is_used_once(children: Children) -> None:
    """`start` returns the process that is already there, and then new ones."""
    engines = EngineProcesses()
    spec = command_spec(*speaking({"facts": "pid"}))
    engines.start_early(spec)
    early = children()
    first, second = engines.start(spec), engines.start(spec)

    assert early == [int(first.describe().facts["pid"])]
    assert int(second.describe().facts["pid"]) not in early

    first.close()
    second.close()


def test_an_engine_that_waits_is_not_started_again(children: Children) -> None:
    """One process of an engine waits, however often it is started early."""
    engines = EngineProcesses()
    spec = command_spec(*speaking({}))
    engines.start_early(spec)
    engines.start_early(spec)
    waiting = children()

    engines.close()

    assert len(waiting) == 1


def test_an_unused_engine_is_ended(children: Children) -> None:
    """A check that stops before it measures leaves no process behind."""
    engines = EngineProcesses()
    engines.start_early(command_spec(*speaking({})))
    (early,) = children()

    engines.close()

    assert not exists(early)


BUILT_IN = "EngineSpec(kind=EngineKind.LLAMA_CPP, command=(), **REST)"
EXTERNAL = f"EngineSpec(kind=EngineKind.COMMAND, command={speaking({})!r}, **REST)"
GATE = """
import sys, time
from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.adapters.engines.process import EngineProcess
from repro_gate.core.engines import EngineKind, EngineSpec

REST = dict(name="e", device="cpu", settings={{}}, timeout_s=60.0, pass_env=())
engine = EngineProcesses().start({spec})
engine.describe()
print("described", flush=True)
time.sleep(60)
"""


@pytest.fixture(name="gate", params=[BUILT_IN, EXTERNAL], ids=["built-in", "external"])
def _gate(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Yield a gate process whose engine has answered once."""
    command = [sys.executable, "-c", GATE.format(spec=request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gate:
        assert gate.stdout is not None
        assert gate.stdout.readline() == "described\n"
        yield gate
        gate.kill()


def test_no_engine_outlives_a_killed_gate(gate: subprocess.Popen[str]) -> None:
    """A gate that could not clean up leaves no process that holds a GPU."""
    (engine,) = children_of(gate.pid)
    assert is_running(engine)

    gate.kill()

    wait_until_gone(engine)


def test_an_engine_ends_where_a_process_cannot_be_held(
    monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    """Systems other than Linux have no descriptors of processes, though some have /proc."""
    monkeypatch.delattr(os, "pidfd_open")
    engine = EngineProcess(speaking({}), env=os.environ, timeout_s=30)
    (child,) = children()

    engine.close()

    assert not exists(child)


_ENDING = "import sys; from pathlib import Path; sys.stdin.read(); Path(sys.argv[1]).touch()"


def test_an_engine_may_end_by_itself(tmp_path: Path) -> None:
    """It may have a server to end first."""
    command = (sys.executable, "-S", "-c", _ENDING, str(tmp_path / "ended"))
    engine = EngineProcess(command, env={}, timeout_s=30, grace_s=30)

    engine.begin_close()
    engine.close()

    assert (tmp_path / "ended").exists()


def test_an_engine_that_does_not_end_by_itself_is_killed(children: Children) -> None:
    """After the time that it was given."""
    engine = EngineProcess(failing("silent"), env={}, timeout_s=30, grace_s=0.1)
    (child,) = children()

    engine.close()

    assert not exists(child)
