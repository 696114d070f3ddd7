"""What a server prints is kept, within bounds and without secrets."""

import io
from contextlib import closing
from pathlib import Path

import pytest

from repro_gate.engines.served import log as logs
from repro_gate.engines.served.log import ServerLog, secrets_in
from repro_gate.protocol import RequestRefused


def _followed(log: ServerLog, output: bytes) -> str:
    log.follow(io.BytesIO(output))
    return log.end()


def test_one_server_is_logged_after_another(tmp_path: Path) -> None:
    """Also by several engines, into one file."""
    file = tmp_path / "serve-prod.log"
    with closing(ServerLog(file)) as one, closing(ServerLog(file)) as other:
        _followed(one, b"one\n")
        other.note("started")
        _followed(other, b"other\n")

    assert file.read_bytes() == b"one\n# repro-gate: started\nother\n"


def test_the_last_lines_are_quoted(tmp_path: Path) -> None:
    """Twenty of them, safe to print, without colours."""
    output = b"".join(b"\x1b[32mline\x1b[0m %d\x07\n" % number for number in range(30))

    with closing(ServerLog(tmp_path / "a.log")) as log:
        quoted = _followed(log, output)

    lines = [f"line {number}" for number in range(10, 30)]
    assert quoted == f"its log, a.log, ends with: {' / '.join(lines)}"


def test_a_quotation_is_bounded() -> None:
    """In whole lines, where one fits."""
    log = ServerLog(None)

    assert _followed(log, b"a" * 500 + b"\n" + b"b" * 500 + b"\n").endswith(f": {'b' * 500}")
    assert _followed(log, b"c" * 5000).endswith(f": {'c' * 600}")
    assert _followed(log, b"") == "its output is empty"


def test_no_secret_is_kept(tmp_path: Path) -> None:
    """The file becomes a part of an artifact, and the last lines are quoted in reports."""
    file = tmp_path / "a.log"
    secrets = ("", "sk-1234567", "sk-123456789")
    with closing(ServerLog(file, secrets=secrets)) as log:
        quoted = _followed(log, b"sk-1234567, 'sk-123456789', sk-12345\n")

    assert file.read_bytes() == b"***, '***', sk-12345\n"
    assert quoted.endswith(": ***, '***', sk-12345")


def test_variables_named_like_secrets_are_secrets() -> None:
    """A server may print its environment; a short value would be masked within other words."""
    environ = {
        "HF_TOKEN": "hf_abcdef",
        "VLLM_API_KEY": "sk-123456",
        "db_password": "letmein!",
        "TOKENIZERS_PARALLELISM": "false",
        "LANG": "en_GB.UTF-8",
    }

    assert list(secrets_in(environ)) == ["hf_abcdef", "sk-123456", "letmein!"]


def test_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first lines are cut."""
    monkeypatch.setattr(logs, "MAX_BYTES", 1000)
    monkeypatch.setattr(logs, "_KEPT_BYTES", 100)
    file = tmp_path / "a.log"
    with closing(ServerLog(file)) as log:
        _followed(log, b"".join(b"line %d\n" % number for number in range(1000)))

    lines = file.read_bytes().splitlines()
    assert file.stat().st_size <= 1000
    assert (lines[0], lines[-1]) == (b"(earlier lines were cut)", b"line 999")
    assert int(lines[1].split()[1]) == 1000 - len(lines) + 1


def test_the_usual_folder_is_made_and_ignored(tmp_path: Path) -> None:
    """As for reports; any other folder has to exist."""
    ServerLog(tmp_path / ".repro-gate" / "a.log").close()

    assert (tmp_path / ".repro-gate" / ".gitignore").read_text("utf-8") == "*\n"
    with pytest.raises(RequestRefused, match="cannot be written"):
        ServerLog(tmp_path / "nowhere" / "a.log")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A repository may contain one."""
    (tmp_path / "a.log").symlink_to(tmp_path / "target")

    with pytest.raises(RequestRefused, match="cannot be written"):
        ServerLog(tmp_path / "a.log")


def test_a_closed_log_takes_no_more(tmp_path: Path) -> None:
    """A process that outlives its server may still print."""
    file = tmp_path / "a.log"
    log = ServerLog(file)
    log.close()
    log.close()

    assert _followed(log, b"late\n").endswith("late")
    assert file.read_bytes() == b""
