"""What `init` chooses, asks and writes, on machines of every kind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.cli.start.choose import SourceOptions
from repro_gate.cli.start.init import InitOptions, run_init
from repro_gate.core.logprobs.policy import PolicyKind
from repro_gate.core.outcome import ExitCode
from repro_gate.core.start.machine import Found, Place, RunningServer
from repro_gate.core.start.prompts import ChatForm
from repro_gate.errors import InputInvalid, MeasurementUnavailable, UsageInvalid
from repro_gate.server_settings import Dialect
from tests.cli.workspaces import contents_of
from tests.core.logprobs.test_capabilities import ALL, report_of
from tests.fakes.machines import DIGEST, FakeMachine, model_of

_URL = "http://127.0.0.1:8080"
_SERVER = RunningServer(
    url=_URL, software="llama-server", dialect=Dialect.LLAMA_SERVER, models=("a", "b")
)
_OLLAMA = RunningServer(url="http://127.0.0.1:11434", software="Ollama", models=("c",))
_KEY = "FIREWORKS_API_KEY"
_WRITTEN = {".github/workflows/gate.yml", ".gitignore", "repro-gate.toml"}


def _run(folder: Path, machine: FakeMachine | None = None, *answers: str, **asked: Any) -> Any:
    """Run `init`, with answers on a terminal if there are any; return the matrix."""
    waiting = iter(answers)
    options = InitOptions(
        asked=SourceOptions(**asked),
        folder=folder,
        ask=(lambda _: next(waiting)) if answers else None,
    )
    assert run_init(options, machine or FakeMachine()) is ExitCode.PASSED
    assert list(waiting) == []
    return read_matrix(folder / "repro-gate.toml")


def _model(matrix: Any) -> Any:
    (model,) = matrix.models.values()
    return model


def _here(folder: Path, name: str = "m.gguf", **changes: Any) -> Any:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return model_of(str(path), **changes)


def test_nothing_found_gives_the_tiny_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so."""
    matrix = _run(tmp_path, yes=True)

    assert _model(matrix).source == "builtin:tiny-qwen2"
    assert set(contents_of(tmp_path)) == _WRITTEN
    assert "uses builtin:tiny-qwen2: nothing better was found" in capsys.readouterr().out


def test_the_first_offer_is_taken_without_a_question(tmp_path: Path) -> None:
    """A file of the folder, by a relative path, with its digest."""
    found = Found(models=(_here(tmp_path, "models/m.gguf"),), servers=(_SERVER,))

    model = _model(_run(tmp_path, FakeMachine(found=found), yes=True))

    assert (model.source, model.sha256) == ("models/m.gguf", DIGEST)


def test_a_choice_on_a_terminal_is_asked_until_it_is_one(tmp_path: Path) -> None:
    """Enter takes the first."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path),), servers=(_SERVER,)))

    assert _model(_run(tmp_path, machine, "9", "x", "3")).name_at_engine == "b"
    (tmp_path / "repro-gate.toml").unlink()
    assert _model(_run(tmp_path, machine, "")).source == "m.gguf"


@pytest.mark.parametrize("answers", [["0", "5", "-1"]])
def test_no_choice_writes_nothing(tmp_path: Path, answers: list[str]) -> None:
    """Three wrong answers are enough."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path),)))
    before = contents_of(tmp_path)

    with pytest.raises(UsageInvalid, match="nothing was chosen"):
        _run(tmp_path, machine, *answers)

    assert contents_of(tmp_path) == before


def test_the_end_of_the_input_writes_nothing(tmp_path: Path) -> None:
    """Ctrl-D is no answer."""

    def ended(_: str) -> str:
        raise EOFError

    machine = FakeMachine(found=Found(models=(_here(tmp_path),)))
    with pytest.raises(UsageInvalid, match="nothing was chosen"):
        run_init(InitOptions(asked=SourceOptions(), folder=tmp_path, ask=ended), machine)


def test_without_a_terminal_a_choice_needs_a_source_or_yes(tmp_path: Path) -> None:
    """The message has both."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path),)))

    with pytest.raises(UsageInvalid, match="name a SOURCE, or pass --yes"):
        _run(tmp_path, machine)


def test_a_named_file_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else was found."""
    monkeypatch.chdir(tmp_path)
    model = _here(tmp_path, "other.gguf", place=Place.GIVEN)
    machine = FakeMachine(
        found=Found(models=(_here(tmp_path),)),
        models={Path("other.gguf"): model},
        chat=ChatForm(refused="no"),
    )

    assert _model(_run(tmp_path, machine, source="other.gguf")).source == "other.gguf"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a: b.gguf", "./a: b.gguf"),
        ("~a.gguf", "./~a.gguf"),
        ("$HOME.gguf", "./$HOME.gguf"),
        ('"; [x]\\.gguf', '"; [x]\\.gguf'),
        ("#{{ x }}${{ y }}.gguf", "#{{ x }}${{ y }}.gguf"),
        ("名前 é.gguf", "名前 é.gguf"),
        ("hf:owner/repo/m.gguf", "./hf:owner/repo/m.gguf"),
    ],
)
def test_a_file_of_any_name_is_named_exactly(tmp_path: Path, name: str, source: str) -> None:
    """None is read as a scheme, a variable or TOML."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path, name),)))

    assert _model(_run(tmp_path, machine, yes=True)).source == source


@pytest.mark.parametrize("name", ["a\nb.gguf", "a\x1b[31m.gguf", "\udc80.gguf", "\u202ea.gguf"])
def test_a_name_that_no_matrix_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path, name),)))

    with pytest.raises(InputInvalid, match="expected a path that can be printed") as caught:
        _run(tmp_path, machine, yes=True)

    assert str(caught.value).isprintable()
    assert not (tmp_path / "repro-gate.toml").exists()


def test_a_file_outside_of_the_repository_has_its_whole_path(tmp_path: Path) -> None:
    """One inside has a relative path, also from a folder of it."""
    (tmp_path / "repo/.git").mkdir(parents=True)
    folder = tmp_path / "repo/gate"
    folder.mkdir()
    outside, inside = _here(tmp_path), _here(tmp_path / "repo")

    assert _model(_run(folder, FakeMachine(found=Found(models=(outside,))), yes=True)).source == (
        str(outside.path)
    )
    (folder / "repro-gate.toml").unlink()
    assert (
        _model(_run(folder, FakeMachine(found=Found(models=(inside,))), yes=True)).source
        == "../m.gguf"
    )


def test_a_file_that_repro_gate_fetched_keeps_its_source(tmp_path: Path) -> None:
    """So that another machine can fetch it."""
    model = model_of("/cache/m.gguf", Place.OWN_CACHE, source="hf:owner/repo/m.gguf")

    matrix = _run(tmp_path, FakeMachine(found=Found(models=(model,))), yes=True)

    assert _model(matrix).source == "hf:owner/repo/m.gguf"


def test_a_file_that_is_fetched_keeps_its_source_too(tmp_path: Path) -> None:
    """It was named on the command line."""
    source = "package:name==1.0/m.gguf"

    assert _model(_run(tmp_path, source=source)).source == source


def test_a_file_that_no_runner_can_fetch_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its first pull request would be inconclusive; a fetched one needs no note."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path),)))
    _run(tmp_path, machine, yes=True)
    assert "note: The runner of the workflow needs the model file" in capsys.readouterr().out
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    source = "hf:a/b/m.gguf"
    found = Found(models=(_here(fetched, source=source, place=Place.OWN_CACHE),))
    _run(fetched, FakeMachine(found=found), yes=True)
    assert "note:" not in capsys.readouterr().out


def test_a_large_file_is_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its digest takes seconds."""
    machine = FakeMachine(found=Found(models=(_here(tmp_path, size=3 << 30),)))

    _run(tmp_path, machine, yes=True)

    assert "reads 3.0 GiB for the digest of" in capsys.readouterr().err


def test_a_server_with_one_model_needs_no_name(tmp_path: Path) -> None:
    """Its only one is meant."""
    machine = FakeMachine(servers={_URL: replace(_SERVER, models=("a",))})

    model = _model(_run(tmp_path, machine, source=_URL))

    assert (model.engine.host, model.name_at_engine) == ("127.0.0.1:8080", "a")


def test_a_llama_server_whose_file_is_here_is_started_by_the_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If its program is here too, and the file can be named."""
    file = _here(tmp_path)
    server = replace(_SERVER, model_file=file.path)
    machine = FakeMachine(
        found=Found(has_llama_server=True), servers={_URL: server}, models={file.path: file}
    )

    model = _model(_run(tmp_path, machine, source=_URL, model="a"))

    assert (model.source, model.sha256, model.engine.host) == ("m.gguf", DIGEST, None)
    assert "note: The runner of the workflow needs the model file" in capsys.readouterr().out
    (tmp_path / "repro-gate.toml").unlink()
    machine.models = {}
    assert _model(_run(tmp_path, machine, source=_URL, model="a")).engine.host is not None


def test_a_server_without_token_ids_is_probed(tmp_path: Path) -> None:
    """Without a key its calls cost nothing."""
    machine = FakeMachine(
        found=Found(servers=(_OLLAMA,)), report=replace(report_of(ALL), model="c")
    )

    (suite,) = _run(tmp_path, machine, yes=True).logprob_suites.values()

    assert machine.probed == [(f"{_OLLAMA.url}/v1", "c", None)]
    assert {cell.policy.kind for cell in suite.cells} == set(PolicyKind)


def test_a_server_that_gives_nothing_is_refused(tmp_path: Path) -> None:
    """No suite of it could find anything."""
    machine = FakeMachine(found=Found(servers=(_OLLAMA,)), report=report_of({}))

    with pytest.raises(MeasurementUnavailable, match="no log-probabilities that can be compared"):
        _run(tmp_path, machine, yes=True)


def test_a_server_on_localhost_has_a_name_of_its_own(tmp_path: Path) -> None:
    """The provider `local` is the engines of the matrix."""
    url = "https://local"
    server = RunningServer(url=url, software="S", wants_key=True)
    machine = FakeMachine(servers={url: server})

    matrix = _run(tmp_path, machine, source=url, model="m", api_key_env="A_KEY", yes=True)

    (suite,) = matrix.logprob_suites.values()
    assert {cell.policy.provider.name for cell in suite.cells} == {"local-server"}
    assert machine.probed == []


@pytest.mark.parametrize(
    ("answers", "asked", "probes"),
    [
        ((), {}, False),
        ((), {"yes": True}, False),
        (("n",), {}, False),
        (("",), {}, False),
        (("y",), {}, True),
        ((), {"yes": True, "probe": True}, True),
    ],
)
def test_a_provider_is_asked_only_with_consent(
    tmp_path: Path,
    answers: tuple[str, ...],
    asked: dict[str, Any],
    probes: bool,  # noqa: FBT001
) -> None:
    """Its calls cost something."""
    machine = FakeMachine(found=Found(keys=(_KEY,)), report=replace(report_of(ALL), model="m"))

    _run(tmp_path, machine, *answers, source="fireworks", model="m", **asked)

    url = "https://api.fireworks.ai/inference/v1"
    assert machine.probed == [(url, "m", _KEY)] * probes


def test_a_provider_whose_key_is_not_set_is_not_asked(tmp_path: Path) -> None:
    """There is no question; the next command is to set it."""
    matrix = _run(tmp_path, None, source="together", model="m")

    (suite,) = matrix.logprob_suites.values()
    assert {cell.policy.provider.api_key_env for cell in suite.cells} == {"TOGETHER_API_KEY"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"source": "no-such-file"}, "there is no file 'no-such-file'; SOURCE is a GGUF file, the"),
        ({"source": "a\x1b[31m"}, r"there is no file 'a\\\\x1b\[31m'"),
        ({"source": "firework", "model": "m"}, "there is no file 'firework'; SOURCE is a GGUF"),
        ({"source": "builtin:tiny"}, "there is no builtin:tiny, but builtin:tiny-qwen2"),
        ({"source": "fireworks"}, "fireworks needs --model NAME"),
        ({"source": "fireworks", "model": "a\n"}, "--model is a name without control"),
        ({"source": "fireworks", "model": " "}, "--model is a name without control"),
        ({"source": "builtin:tiny-qwen2", "model": "x"}, "--model needs the URL of a server"),
        ({"yes": True, "api_key_env": "A_KEY"}, "--api-key-env needs the URL of a server"),
        ({"source": _URL, "api_key_env": "GITHUB_TOKEN"}, "GITHUB_TOKEN belongs to the CI system"),
        ({"source": _URL}, "name a model with --model; the server has a, b"),
        ({"source": _URL, "model": "c"}, "the server has no model c, but a, b"),
        ({"source": "http://locked"}, "the server wants a key: give --model NAME and --api"),
        (
            {"source": "http://locked", "model": "m", "api_key_env": "A_KEY"},
            "only https, or http on this machine, can be gated, not http on another host",
        ),
    ],
)
def test_an_incomplete_command_line_is_refused(
    tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    """With what is missing, and nothing is written."""
    locked = RunningServer(url="http://locked", software="S", wants_key=True)
    machine = FakeMachine(servers={_URL: _SERVER, "http://locked": locked})

    with pytest.raises(UsageInvalid, match=message):
        _run(tmp_path, machine, **asked)

    assert contents_of(tmp_path) == {}


def test_many_models_of_a_server_are_counted(tmp_path: Path) -> None:
    """A message stays short."""
    names = tuple(f"m{number}" for number in range(13))
    machine = FakeMachine(servers={_URL: replace(_SERVER, models=names)})

    with pytest.raises(UsageInvalid, match=r"m9 and 3 more$"):
        _run(tmp_path, machine, source=_URL)


def test_a_dry_run_prints_every_file_and_writes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The matrix is read back all the same."""
    options = InitOptions(asked=SourceOptions(yes=True), folder=tmp_path, dry_run=True)

    assert run_init(options, FakeMachine()) is ExitCode.PASSED

    out = capsys.readouterr().out
    assert {name for name in _WRITTEN if f"--- {name} (dry run: not written)" in out} == _WRITTEN
    assert contents_of(tmp_path) == {}


def test_the_workflow_is_at_the_root_of_the_repository(tmp_path: Path) -> None:
    """The matrix and what git ignores are in the working folder."""
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)

    _run(folder, yes=True)

    assert (tmp_path / ".github/workflows/gate.yml").read_text().count("a/b/repro-gate.toml") == 1
    assert set(contents_of(folder)) == {".gitignore", "repro-gate.toml"}
