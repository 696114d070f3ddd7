"""The log of llama.cpp arrives in chunks and is kept as lines."""

from threading import Thread

import pytest

from repro_gate.engines.llama_cpp.native_log import Level, LogLine, NativeLog


def test_chunks_become_lines_with_the_level_of_their_start() -> None:
    """Level 5 continues the line before it; one chunk may hold several lines."""
    log = NativeLog()
    for level, chunk in [(2, b"a"), (5, b"."), (5, b".\n"), (1, b"b\nc\n"), (2, b"d")]:
        log.receive(level, chunk)
    assert log.since(0) == [
        LogLine(Level.INFO, "a.."),
        LogLine(Level.DEBUG, "b"),
        LogLine(Level.DEBUG, "c"),
        LogLine(Level.INFO, "d"),
    ]


def test_only_lines_after_the_mark_are_returned() -> None:
    """What happened before a load does not count for it."""
    log = NativeLog()
    log.receive(4, b"old\n")
    mark = log.mark()
    log.receive(2, b"new\n")
    log.receive(4, b"bad\n")
    assert [line.text for line in log.since(mark)] == ["new", "bad"]
    assert log.errors_since(mark) == ["bad"]


def test_long_lines_are_cut() -> None:
    """A name in a model file may have any length, and each line is searched several times."""
    log = NativeLog()
    log.receive(2, b"x" * 3_000_000 + b"\nnext\n")
    assert [len(line.text) for line in log.since(0)] == [4096, 4]


def test_the_oldest_lines_are_dropped() -> None:
    """A long log does not fill the memory, and marks stay valid."""
    log = NativeLog()
    marks = []
    for number in range(40_000):
        marks.append(log.mark())
        log.receive(1, b"%d\n" % number)
    assert len(log.since(0)) < 20_000
    assert [line.text for line in log.since(marks[39_998])] == ["39998", "39999"]


def test_a_line_without_end_is_cut() -> None:
    """Progress dots do not accumulate."""
    log = NativeLog()
    for _ in range(10_000):
        log.receive(5, b"." * 10)
    assert max(len(line.text) for line in log.since(0)) < 5_000


def test_warnings_and_errors_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The gate quotes the last lines of stderr when an engine dies."""
    log = NativeLog()
    for level in (1, 2, 3, 4, 99):
        log.receive(level, b"level %d\n" % level)
    assert capsys.readouterr() == ("", "level 3\nlevel 4\n")


def test_threads_do_not_mix_their_lines() -> None:
    """Contexts that decode side by side may log at the same time."""
    log = NativeLog()
    log.receive(4, b"error: out ")
    for chunk in ((2, b"other\n"), (2, b"begun")):
        thread = Thread(target=log.receive, args=chunk)
        thread.start()
        thread.join()
    log.receive(5, b"of memory\n")
    log.receive(5, b"on device 0\n")
    assert log.since(0) == [
        LogLine(Level.INFO, "other"),
        LogLine(Level.ERROR, "error: out of memory"),
        LogLine(Level.ERROR, "on device 0"),
        LogLine(Level.INFO, "begun"),
    ]
