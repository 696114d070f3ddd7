"""An engine that implements protocol v1, asked through the adapter."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from repro_gate.adapters.engines.client import EngineProcesses, ProtocolEngine
from repro_gate.adapters.engines.process import EngineProcess
from repro_gate.core.engines import Ability, EngineKind
from repro_gate.core.report import EngineReport
from repro_gate.core.tokens.cell import Sampler
from repro_gate.core.tokens.generation import Choice, Generation, Stop, Token
from repro_gate.errors import EngineFailed, MeasurementUnavailable
from repro_gate.ports import CellRun, LoadedModel, ModelFile, TimedGeneration
from tests.fakes.driven_engine import validator
from tests.fakes.processes import DescribedEngineStarter, command_spec, generated, speaking
from tests.fakes.values import PENALISED, SAMPLED, cell_of, model_spec_of

CELL = cell_of(max_tokens=4)
FILE = ModelFile(path=Path("/models/tiny.gguf"), sha256=None)
GENERATION = Generation(
    prompt=(Token(1, b"Say"), Token(2, b"")),
    tokens=(Token(7, b" 7"), Token(8, b" 8")),
    stop=Stop.END_OF_GENERATION,
)
EVIDENCE = (
    Choice(logprob=-0.5, best=((7, -0.5), (0, -1.5))),
    Choice(logprob=-0.5, best=((8, -0.5), (0, -1.5))),
)


def test_describe_names_the_engine_as_the_matrix_does(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """The report has the name from the matrix, and the engine's own facts."""
    assert speaking_engine().describe() == EngineReport(
        name="external", profile="test-cpu", facts={"engine": "speaking", "device": "cpu"}
    )


def test_load_keeps_the_digest_as_a_fact(speaking_engine: DescribedEngineStarter) -> None:
    """The provenance of a loaded model has the digest of its file."""
    assert speaking_engine().load(model_spec_of(), FILE) == LoadedModel(
        sha256="5a" * 32, facts={"model.name": "tiny", "model.sha256": "5a" * 32}
    )


def test_a_remote_engine_may_not_know_the_model(speaking_engine: DescribedEngineStarter) -> None:
    """Then the provenance has no digest, also where the engine puts one into its facts."""
    facts = {"facts": {"model.name": "tiny", "model.sha256": "0" * 64}}
    without = ["sha256", "size", "layers", "layers_on_device"]
    engine = speaking_engine(without=without, load=facts, describe={"can": ["remote"]})

    assert engine.describe().can == {Ability.REMOTE}
    assert engine.load(model_spec_of(), FILE) == LoadedModel(
        sha256=None, facts={"model.name": "tiny"}
    )


def test_an_engine_may_not_know_the_layers_in_its_server(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """It has read the file, and started the server."""
    changes = {"without": ["layers", "layers_on_device"], "describe": {"can": ["restart"]}}
    engine = speaking_engine(**changes)
    engine.describe()

    assert engine.load(model_spec_of(), FILE).sha256 == "5a" * 32


def test_a_load_may_name_what_computes(speaking_engine: DescribedEngineStarter) -> None:
    """Its name is escaped, as it is shown."""
    engine = speaking_engine(load={"instance": "pid 7\x1b"})

    assert engine.load(model_spec_of(), FILE).instance == "pid 7\\x1b"


def test_a_model_without_a_file_is_loaded_by_name(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """The request has no path, and an engine that reads files can refuse it."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    engine.load(model_spec_of(), ModelFile(path=None, sha256=None))

    (request,) = map(json.loads, (tmp_path / "log").read_bytes().splitlines())
    assert "path" not in request["params"]
    assert validator("load_request").is_valid(request)


def test_a_run_may_keep_the_cache(speaking_engine: DescribedEngineStarter, tmp_path: Path) -> None:
    """The engine reports what came from it, and how many requests were at work."""
    counts = {"cached_tokens": 2, "running": 3}
    engine = speaking_engine(log=str(tmp_path / "log"), generate=counts)
    run = CellRun(cell=CELL, trace=False, keep_cache=True)

    timed = next(engine.generate([run])).answer()

    (request,) = map(json.loads, (tmp_path / "log").read_bytes().splitlines())
    assert request["params"]["cache"] == "keep"
    assert validator("generate_request").is_valid(request)
    assert (timed.cached_tokens, timed.running) == (2, 3)


def test_bytes_may_be_unknown(speaking_engine: DescribedEngineStarter) -> None:
    """Only of an engine that reports that."""
    tokens = {"tokens": [[7, None], [8, "38"]]}
    engine = speaking_engine(describe={"can": ["no_bytes"]}, generate=tokens)
    engine.describe()

    generation = generated(engine, CELL, trace=False).generation

    assert generation.tokens == (Token(7, None), Token(8, b"8"))


def test_a_fresh_process_can_the_same() -> None:
    """Only the first one of an engine is asked to describe itself."""
    processes = EngineProcesses()
    changes = {"describe": {"can": ["no_bytes"]}, "generate": {"tokens": [[7, None]]}}
    first, fresh = (processes.start(command_spec(*speaking(changes))) for _ in range(2))
    with closing(first), closing(fresh):
        first.describe()

        assert generated(fresh, CELL, trace=False).generation.tokens == (Token(7, None),)


def test_generate_returns_the_tokens_and_the_engine_time(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """Bytes are decoded from hex, and the engine's time is the sum of its parts."""
    timed = generated(speaking_engine(), CELL, trace=False)

    assert timed == TimedGeneration(generation=GENERATION, engine_s=0.75)


def test_notes_of_an_answer_are_safe_to_print(speaking_engine: DescribedEngineStarter) -> None:
    """Notes on a model or a prompt are escaped to printable lines."""
    notes = {"notes": ["no pre-tokenizer\x1b[2J", "two BOS tokens"]}
    engine = speaking_engine(load=notes, generate=notes)
    shown = ("no pre-tokenizer\\x1b[2J", "two BOS tokens")

    assert engine.load(model_spec_of(), FILE).notes == shown
    assert generated(engine, CELL, trace=False).notes == shown


def test_a_traced_run_has_a_trace(speaking_engine: DescribedEngineStarter) -> None:
    """Each token comes with its log-probability and the best alternatives."""
    assert generated(speaking_engine(), CELL, trace=True).generation.trace == EVIDENCE


def test_the_requests_are_those_of_the_protocol(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Requests are exactly protocol v1, with every setting of the cell."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    engine.describe()
    engine.load(model_spec_of(), FILE)
    generated(engine, CELL, trace=True)

    requests = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    protocol = "repro-gate/engine/v1"
    sampler = {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
    load = {"model": "tiny", "path": "/models/tiny.gguf", "sha256": None, "device": "cpu"}
    assert [(r["protocol"], r["id"], r["method"], r["params"]) for r in requests] == [
        (protocol, 1, "describe", {"device": "cpu"}),
        (protocol, 2, "load", load | {"settings": {"threads": 2, "exact": True}}),
        (
            protocol,
            3,
            "generate",
            {"prompt": "Say haiku", "seed": 42, "max_tokens": 4, "trace": True} | sampler,
        ),
    ]


def test_further_samplers_are_sent_beside_the_others(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """Only for a cell that has some."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    engine.describe()
    engine.load(model_spec_of(), FILE)
    for sampler in (PENALISED, replace(PENALISED, sampling=None)):
        generated(engine, replace(CELL, sampler=sampler), trace=False)

    first, second = (
        json.loads(line)["params"] for line in (tmp_path / "log").read_bytes().splitlines()[2:]
    )
    sampling = {
        "samplers": ["penalties"],
        "repeat_last_n": 64,
        "repeat_penalty": 1.5,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.5,
    }
    assert first == second | {"sampling": sampling}


@pytest.mark.parametrize("sampler", [SAMPLED, PENALISED])
def test_the_requests_match_the_published_schema(
    speaking_engine: DescribedEngineStarter, tmp_path: Path, sampler: Sampler
) -> None:
    """An engine that was written from the schema understands the gate."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    engine.describe()
    engine.load(model_spec_of(), FILE)
    generated(engine, replace(CELL, sampler=sampler), trace=True)

    schema = json.loads(files("repro_gate.schemas").joinpath("engine-v1.json").read_text("utf-8"))
    validator = Draft202012Validator({**schema, "oneOf": [{"$ref": "#/$defs/request"}]})
    for line in (tmp_path / "log").read_bytes().splitlines():
        validator.validate(json.loads(line))


def test_a_relative_model_file_is_sent_as_an_absolute_path(
    speaking_engine: DescribedEngineStarter, tmp_path: Path
) -> None:
    """The protocol promises an absolute path, also for a relative cache folder."""
    engine = speaking_engine(log=str(tmp_path / "log"))
    engine.load(model_spec_of(), ModelFile(path=Path("cache/tiny.gguf"), sha256=None))

    sent = json.loads((tmp_path / "log").read_bytes())["params"]["path"]
    assert sent == str(Path.cwd() / "cache/tiny.gguf")


def test_an_answer_may_arrive_byte_by_byte(speaking_engine: DescribedEngineStarter) -> None:
    """A slow engine is fine as long as its line is complete in time."""
    assert speaking_engine(drip_s=0.0005).describe().profile == "test-cpu"


def test_a_long_answer_is_read_whole(speaking_engine: DescribedEngineStarter) -> None:
    """An answer may be larger than the buffer of a pipe."""
    tokens = [[number, ""] for number in range(9_000)]

    engine = speaking_engine(generate={"tokens": tokens})
    timed = generated(engine, cell_of(max_tokens=9_000), trace=False)

    assert [token.id for token in timed.generation.tokens] == list(range(9_000))


def test_a_typed_error_does_not_end_the_engine(speaking_engine: DescribedEngineStarter) -> None:
    """The measurement is unavailable, and the engine can be asked again."""
    engine = speaking_engine(answer={"error": {"kind": "out_of_context", "message": "too long"}})

    for _ in range(2):
        with pytest.raises(MeasurementUnavailable, match=r"^out_of_context: too long$") as caught:
            generated(engine, CELL, trace=False)
        assert not isinstance(caught.value, EngineFailed)


def test_the_message_of_an_error_is_escaped(
    speaking_engine: DescribedEngineStarter,
) -> None:
    """Control characters, ANSI escapes and bidirectional marks are escaped."""
    error = {"kind": "internal\x07", "message": "a\x1b[2J\u202eb\nc\ud800"}

    with pytest.raises(MeasurementUnavailable) as caught:
        speaking_engine(answer={"error": error}).describe()

    assert str(caught.value) == r"internal\x07: a\x1b[2J\xe2\x80\xaeb\nc\xed\xa0\x80"


def test_the_message_of_an_error_is_bounded(speaking_engine: DescribedEngineStarter) -> None:
    """A very long message is cut, because it is shown in a comment."""
    error = {"kind": "internal", "message": "x" * 100_000}

    with pytest.raises(MeasurementUnavailable) as caught:
        speaking_engine(answer={"error": error}).describe()

    assert str(caught.value) == f"internal: {'x' * 1000}..."


@pytest.mark.parametrize("on_device", [0, 3, 5])
def test_layers_on_another_device_make_a_model_unavailable(
    speaking_engine: DescribedEngineStarter, on_device: int
) -> None:
    """A run that is not on the requested device is never a measurement on it."""
    engine = speaking_engine(load={"layers_on_device": on_device})

    with pytest.raises(MeasurementUnavailable) as caught:
        engine.load(model_spec_of(), FILE)

    assert not isinstance(caught.value, EngineFailed)
    assert (caught.value.reason, caught.value.remedy) == (
        f"cpu was asked for, but {on_device} layers of tiny are on it, not 4",
        "free memory on the device, or lower n_ctx; repro-gate doctor shows it",
    )


@pytest.fixture
def part_on_the_gpu(tmp_path: Path) -> Callable[[int], ProtocolEngine]:
    """Return a built-in engine that is to put 2 layers on a GPU, by how many it puts there."""
    spec = replace(
        command_spec("x"),
        kind=EngineKind.LLAMA_CPP,
        command=(),
        device="cuda",
        settings={"gpu_layers": 2},
    )

    def start(on_device: int) -> ProtocolEngine:
        changes = {"load": {"layers_on_device": on_device}, "log": str(tmp_path / "log")}
        return ProtocolEngine(spec, EngineProcess(speaking(changes), env=os.environ, timeout_s=30))

    return start


@pytest.mark.parametrize("on_device", [1, 3, 4])
def test_another_part_of_a_model_than_requested_makes_it_unavailable(
    part_on_the_gpu: Callable[[int], ProtocolEngine], on_device: int
) -> None:
    """Neither fewer layers nor more are a measurement of this part."""
    with closing(part_on_the_gpu(on_device)) as engine, pytest.raises(MeasurementUnavailable) as no:
        engine.load(model_spec_of(), FILE)

    assert no.value.reason == (
        f"cuda was asked for, but {on_device} layers of tiny are on it, not 2"
    )


def test_the_requested_part_of_a_model_is_accepted(
    part_on_the_gpu: Callable[[int], ProtocolEngine], tmp_path: Path
) -> None:
    """The description gets the settings, on which the profile depends."""
    with closing(part_on_the_gpu(2)) as engine:
        engine.describe()
        assert engine.load(model_spec_of(), FILE).sha256 == "5a" * 32

    asked = json.loads((tmp_path / "log").read_bytes().splitlines()[0])
    assert asked["params"] == {"device": "cuda", "settings": {"gpu_layers": 2}}
    validator("describe_request").validate(asked)


@pytest.mark.parametrize(
    "profile", ["../../x", "a/b", "", ".", "..", "-x", "a--b", "Upper", "a\n", "x" * 65, 7, None]
)
def test_a_profile_that_is_not_a_valid_folder_name_is_refused(
    speaking_engine: DescribedEngineStarter, profile: object
) -> None:
    """Goldens are written to a folder of that name."""
    with pytest.raises(EngineFailed, match=r"^the engine's answer to 'describe' breaks protocol"):
        speaking_engine(describe={"profile": profile}).describe()


def test_facts_are_safe_to_print(speaking_engine: DescribedEngineStarter) -> None:
    """Names and values of facts are escaped to one line each."""
    engine = speaking_engine(describe={"engine": "a\nb", "facts": {"x\x1b": "\u2028"}})

    assert engine.describe().facts == {"engine": r"a\nb", r"x\x1b": r"\xe2\x80\xa8"}


@pytest.mark.parametrize("facts", [None, [], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}])
def test_facts_that_are_not_flat_are_refused(
    speaking_engine: DescribedEngineStarter, facts: object
) -> None:
    """Provenance is a flat table of texts."""
    with pytest.raises(EngineFailed, match=r"breaks protocol v1: facts(\.a)?: expected"):
        speaking_engine(describe={"facts": facts}).describe()
