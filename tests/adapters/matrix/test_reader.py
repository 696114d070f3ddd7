"""The matrix file."""

from dataclasses import replace
from pathlib import Path

import pytest

from repro_gate.adapters.matrix.reader import read_matrix
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.matrix import Evidence, Matrix, Suite, plan
from repro_gate.core.tokens.cell import Cell, Sampler
from repro_gate.errors import InputInvalid

REPOSITORY = Path(__file__).parents[3] / "repro-gate.toml"
SMALL = """
schema = "repro-gate/matrix/v1"
default_suites = ["quick"]

[engines.exact]
kind = "llama_cpp"

[engines.exact.settings]
n_ctx = 256
n_batch = 128
threads = 1
flash_attention = false
kv_type = "f32"

[engines.own]
kind = "command"
command = ["./engine", "--quiet"]
device = "cuda:1"
timeout_s = 0.5
pass_env = ["OMP_NUM_THREADS"]
settings = { depth = 3, warm = true, rate = 0.5, mode = "x" }

[models.tiny]
engine = "exact"
source = "builtin:tiny-qwen2"
sha256 = "DIGEST"

[models.mine]
engine = "own"
source = "mine.gguf"

[sampler]
top_k = 40
top_p = 0.95
min_p = 0.05

[prompts]
haiku = { text = "Say haiku", temperature = 0.7, max_tokens = 4 }
greedy = { text = "Say greedy", temperature = 0, max_tokens = 5, top_k = 0, top_p = 1, min_p = 0 }

[suites.quick]
runs = 3
seeds = [1, 4294967294]

[suites.quick.prompts]
tiny = ["haiku", "greedy"]
""".replace("DIGEST", "0a" * 32)

SAMPLED = Sampler(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05)
GREEDY = Sampler(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
EXACT = EngineSpec(
    name="exact",
    kind=EngineKind.LLAMA_CPP,
    command=(),
    device="cpu",
    settings={
        "n_ctx": 256,
        "n_batch": 128,
        "threads": 1,
        "flash_attention": False,
        "kv_type": "f32",
    },
    timeout_s=120.0,
    pass_env=(),
)
OWN = EngineSpec(
    name="own",
    kind=EngineKind.COMMAND,
    command=("./engine", "--quiet"),
    device="cuda:1",
    settings={"depth": 3, "warm": True, "rate": 0.5, "mode": "x"},
    timeout_s=0.5,
    pass_env=("OMP_NUM_THREADS",),
)


def matrix_from(folder: Path, *changes: tuple[str, str]) -> Matrix:
    """Return the small matrix with some of its text replaced."""
    text = SMALL
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} does not say which place is meant"
        text = text.replace(old, new)
    file = folder / "repro-gate.toml"
    file.write_text(text, "utf-8")
    return read_matrix(file)


def refusal_of(folder: Path, *changes: tuple[str, str]) -> str:
    """Return the message for the small matrix with some of its text replaced."""
    with pytest.raises(InputInvalid) as caught:
        matrix_from(folder, *changes)
    return str(caught.value).removeprefix(f"{folder / 'repro-gate.toml'}: ")


def quick_cell(prompt: str, seed: int) -> Cell:
    """Return a cell of the small matrix."""
    sampler, max_tokens = {"haiku": (SAMPLED, 4), "greedy": (GREEDY, 5)}[prompt]
    return Cell(
        model="tiny",
        prompt=prompt,
        text=f"Say {prompt}",
        seed=seed,
        max_tokens=max_tokens,
        sampler=sampler,
    )


def test_a_suite_may_compare_logits(tmp_path: Path) -> None:
    """By default it compares tokens; another word is refused."""
    line = "runs = 3\n"
    for word in ("tokens", "logits"):
        matrix = matrix_from(tmp_path, (line, f'{line}evidence = "{word}"\n'))
        assert matrix.suites["quick"].evidence is Evidence(word)
    assert matrix_from(tmp_path).suites["quick"].evidence is Evidence.TOKENS
    refused = refusal_of(tmp_path, (line, f'{line}evidence = "text"\n'))
    assert refused.startswith("suites.quick.evidence: expected ")


def test_a_matrix_is_read(tmp_path: Path) -> None:
    """Values are taken from the file, or are defaults."""
    cells = [quick_cell(prompt, s) for prompt in ("haiku", "greedy") for s in (1, 4294967294)]

    assert matrix_from(tmp_path) == Matrix(
        models={
            "tiny": ModelSpec(
                name="tiny", engine=EXACT, source="builtin:tiny-qwen2", sha256="0a" * 32
            ),
            "mine": ModelSpec(name="mine", engine=OWN, source="mine.gguf", sha256=None),
        },
        suites={"quick": Suite(name="quick", runs=3, fresh_runs=1, cells=tuple(cells))},
        default_suites=("quick",),
        snapshots="snapshots",
    )


def lt_036_cells(first: str, second: str) -> tuple[Cell, ...]:
    """Return the cells for two models: 5 prompts each, 3 seeds each."""
    prompts = {
        first: [
            ("autumn-leaves", "Write a haiku about autumn leaves", 0.7, 30),
            ("quick-brown-fox", "The quick brown fox", 0.8, 20),
            ("once-upon-a-time", "Once upon a time", 0.5, 25),
            ("galaxy-far-away", "In a galaxy far, far away", 0.9, 30),
            ("meaning-of-life", "The meaning of life is", 0.6, 20),
        ],
        second: [
            ("ocean-waves", "Write a haiku about ocean waves", 0.7, 30),
            ("bread-recipe", "A recipe for bread begins with", 0.5, 25),
            ("night-train", "The train leaves the station at", 0.6, 20),
            ("dear-diary", "Dear diary, today I learned", 0.8, 30),
            ("moon-visit", "Three reasons to visit the moon:", 0.9, 20),
        ],
    }
    return tuple(
        Cell(
            model=model,
            prompt=name,
            text=text,
            seed=seed,
            max_tokens=max_tokens,
            sampler=replace(SAMPLED, temperature=temperature),
        )
        for model, rows in prompts.items()
        for name, text, temperature, max_tokens in rows
        for seed in (42, 123, 999)
    )


@pytest.mark.parametrize(
    ("suite", "models"),
    [
        ("embedded", ("tiny-qwen2", "tiny-phi3")),
        ("release", ("qwen2.5-0.5b", "phi-3-mini-4k")),
    ],
)
def test_the_matrix_of_this_repository_is_that_of_lt_036(
    suite: str, models: tuple[str, str]
) -> None:
    """Two suites of 30 cells and 10 runs, with prompts, temperatures and seeds of LT-036."""
    cells = lt_036_cells(*models)

    assert len(cells) == 30
    assert read_matrix(REPOSITORY).suites[suite] == Suite(
        name=suite, runs=10, fresh_runs=1, cells=cells
    )


def test_the_matrix_of_this_repository_has_no_other_suites() -> None:
    """Only the embedded ones run by default."""
    matrix = read_matrix(REPOSITORY)

    assert list(matrix.suites) == ["embedded", "release", "release-smollm2"]
    assert list(matrix.logprob_suites) == ["embedded-logprobs", "hosted"]
    assert matrix.default_suites == ("embedded", "embedded-logprobs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('engine = "exact"', 'engine = "exacct"'),
            (
                "models.tiny.engine: expected one of exact, own, "
                "found 'exacct'; did you mean 'exact'?"
            ),
        ),
        (
            ('default_suites = ["quick"]', 'default_suites = ["quickly"]'),
            "default_suites: expected one of quick, found 'quickly'; did you mean 'quick'?",
        ),
        (
            ("tiny = [", "tinny = ["),
            "suites.quick.prompts: expected one of tiny, mine, found 'tinny'; did you mean 'tiny'?",
        ),
        (
            ('"haiku", "greedy"', '"haiku", "greed"'),
            (
                "suites.quick.prompts.tiny: expected one of haiku, greedy, "
                "found 'greed'; did you mean 'greedy'?"
            ),
        ),
        (
            ('"haiku", "greedy"', '"haiku", "zzz"'),
            "suites.quick.prompts.tiny: expected one of haiku, greedy, found 'zzz'",
        ),
        (
            ("timeout_s = 0.5", "time_out_s = 0.5"),
            (
                "engines.own: expected only the keys api_key_env, base_url, command, device, "
                "dialect, env, kind, pass_env, profile, ready_timeout_s, serve, settings, "
                "timeout_s, found the unknown key 'time_out_s'; did you mean 'timeout_s'?"
            ),
        ),
        (
            ("n_batch = 128", "batch = 128"),
            (
                "engines.exact.settings: expected only the keys contexts, flash_attention, "
                "gpu_layers, gpus, kv_type, kv_type_k, kv_type_v, like, load_mode, n_batch, n_ctx, "
                "n_ubatch, offload_kqv, op_offload, repack, rope_freq_base, rope_freq_scale, "
                "rope_scaling, split_mode, swa_full, tensor_split, threads, threads_batch, "
                "yarn_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_ext_factor, "
                "yarn_orig_ctx, found the unknown key 'batch'; did you mean 'n_batch'?"
            ),
        ),
    ],
)
def test_an_unknown_name_suggests_a_similar_one(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """A typo is answered with the name that was meant."""
    assert refusal_of(tmp_path, change) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("builtin:tiny-qwen2", "ollama:llama3"),
            (
                "models.tiny.source: expected builtin:NAME, hf:OWNER/REPO[@REVISION]/FILE, "
                "package:NAME==VERSION/PATH, or a path relative to this file, or an absolute one; "
                "a file whose name has a colon is ./ollama:llama3, found 'ollama:llama3'"
            ),
        ),
        (
            ("builtin:tiny-qwen2", "big-00002-of-00002.gguf"),
            (
                "models.tiny.source: expected big-00001-of-00002.gguf: the first part stands for "
                "all of them, found 'big-00002-of-00002.gguf'"
            ),
        ),
        (
            ("max_tokens = 4 }", "max_tokens = 256 }"),
            (
                "prompts.haiku.max_tokens: expected at most 255, because prompt and output of tiny "
                "share n_ctx = 256 of the engine exact, found 256"
            ),
        ),
    ],
)
def test_impossible_sources_and_lengths_are_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """Without a model file or an engine."""
    assert refusal_of(tmp_path, change) == message


def test_the_context_is_rounded_up_as_in_llama_cpp(tmp_path: Path) -> None:
    """n_ctx = 257 gives 512 positions, enough for 511 tokens."""
    larger = (("n_ctx = 256", "n_ctx = 257"), ("max_tokens = 4 }", "max_tokens = 511 }"))
    cells = matrix_from(tmp_path, *larger).cells()

    assert {cell.max_tokens for cell in cells} == {511, 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("[1, 4294967294]", "[0]"),
            "suites.quick.seeds[0]: expected at least 1, found 0",
        ),
        (
            ("[1, 4294967294]", "[1, 4294967295]"),
            "suites.quick.seeds[1]: expected at most 4294967294, found 4294967295",
        ),
        (("[1, 4294967294]", "[1.0]"), "suites.quick.seeds[0]: expected an integer, found 1.0"),
        (("[1, 4294967294]", "[true]"), "suites.quick.seeds[0]: expected an integer, found true"),
        (("[1, 4294967294]", "[]"), "suites.quick.seeds: expected at least 1 entry, found 0"),
        (
            ("max_tokens = 4", f"max_tokens = 4, stop = {list('abcdefghijklmnopq')}"),
            "prompts.haiku.stop: expected at most 16 entries, found 17",
        ),
        (
            ("[1, 4294967294]", "[7, 8, 7]"),
            "suites.quick.seeds[2]: expected no repeated entry, found 7",
        ),
        (
            ('"haiku", "greedy"', '"haiku", "haiku"'),
            "suites.quick.prompts.tiny[1]: expected no repeated entry, found 'haiku'",
        ),
        (
            ('tiny = ["haiku", "greedy"]', ""),
            "suites.quick.prompts: expected at least 1 entry, found 0",
        ),
        (("runs = 3", "runs = 0"), "suites.quick.runs: expected at least 1, found 0"),
        (("runs = 3", "runs = 3.0"), "suites.quick.runs: expected an integer, found 3.0"),
        (
            ("runs = 3", "runs = 3\nfresh_runs = 3"),
            "suites.quick.fresh_runs: expected at most 2 of the 3 runs, found 3",
        ),
        (
            ("runs = 3", "runs = 3\nfresh_runs = -1"),
            "suites.quick.fresh_runs: expected at least 0, found -1",
        ),
    ],
)
def test_a_suite_that_measures_nothing_or_the_same_twice_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """Random seeds, duplicates and too many fresh runs are mistakes."""
    assert refusal_of(tmp_path, change) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("temperature = 0.7", "temperature = nan"),
            "prompts.haiku.temperature: expected a finite number, found nan",
        ),
        (
            ("temperature = 0.7", "temperature = inf"),
            "prompts.haiku.temperature: expected a finite number, found inf",
        ),
        (
            ("top_p = 0.95", "top_p = nan"),
            "sampler.top_p: expected a finite number, found nan",
        ),
        (("min_p = 0.05", "min_p = -inf"), "sampler.min_p: expected a finite number, found -inf"),
        (
            ("timeout_s = 0.5", "timeout_s = nan"),
            "engines.own.timeout_s: expected a finite number, found nan",
        ),
        (
            ("timeout_s = 0.5", "timeout_s = inf"),
            "engines.own.timeout_s: expected a finite number, found inf",
        ),
        (
            ("timeout_s = 0.5", "timeout_s = 0"),
            "engines.own.timeout_s: expected more than 0, found 0",
        ),
        (
            ("rate = 0.5", "rate = nan"),
            (
                "engines.own.settings.rate: expected true or false, a finite number, a string, or "
                "a list of these, found nan"
            ),
        ),
        (
            ("rate = 0.5", "rate = inf"),
            (
                "engines.own.settings.rate: expected true or false, a finite number, a string, or "
                "a list of these, found inf"
            ),
        ),
        (
            ("rate = 0.5", "rate = 2026-01-02"),
            (
                "engines.own.settings.rate: expected true or false, a finite number, a string, or "
                "a list of these, found datetime.date(2026, 1, 2)"
            ),
        ),
        (("top_p = 0.95", "top_p = 0"), "sampler.top_p: expected more than 0, found 0"),
        (("top_k = 40", "top_k = 40.0"), "sampler.top_k: expected an integer, found 40.0"),
        (
            ("max_tokens = 4", "max_tokens = 0"),
            "prompts.haiku.max_tokens: expected at least 1, found 0",
        ),
        (
            ("n_ctx = 256", "n_ctx = true"),
            "engines.exact.settings.n_ctx: expected an integer, found true",
        ),
        (
            ("n_batch = 128", "n_batch = 257"),
            "engines.exact.settings.n_batch: expected at most n_ctx, which is 256, found 257",
        ),
        (
            ("n_batch = 128", "n_batch = 128\nn_ubatch = 129"),
            "engines.exact.settings.n_ubatch: expected at most n_batch, which is 128, found 129",
        ),
        (
            ('kv_type = "f32"', 'kv_type = "q8_0"'),
            (
                "engines.exact.settings.kv_type: expected f32, f16 or bf16, or flash_attention = "
                "true, which llama.cpp then needs, found q8_0"
            ),
        ),
        (
            ('kv_type = "f32"', 'kv_type = "f32"\ngpu_layers = 0'),
            "engines.exact.settings.gpu_layers: expected at least 1, found 0",
        ),
        (
            ('kv_type = "f32"', 'kv_type_k = "f32"'),
            "engines.exact.settings: expected the key 'kv_type_v', found none",
        ),
        (
            ('kv_type = "f32"', ""),
            "engines.exact.settings: expected the key 'kv_type', found none",
        ),
        (
            ('"Say haiku"', '""'),
            "prompts.haiku.text: expected at least 1 character, found 0",
        ),
    ],
)
def test_an_invalid_number_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """NaN, infinity, and fractions where a count is expected."""
    assert refusal_of(tmp_path, change) == message


@pytest.mark.parametrize("table", ["engines.own", "models.mine", "prompts.greedy", "suites.quick"])
@pytest.mark.parametrize(
    "name", ["a--b", "a..b", "Upper", "-a", "a-", "a b", "a/b", "..", "", "é", r"a\n", "x" * 65]
)
def test_a_name_that_could_collide_is_refused(tmp_path: Path, table: str, name: str) -> None:
    """Names become parts of ids and file names, joined by two separators."""
    kind = table.partition(".")[0]
    extra = {
        "engines": 'kind = "command"\ncommand = ["x"]\nsettings = {}',
        "models": 'engine = "own"\nsource = "x"',
        "prompts": 'text = "x"\ntemperature = 0\nmax_tokens = 1',
        "suites": 'runs = 1\nseeds = [1]\nprompts = { tiny = ["haiku"] }',
    }[kind]
    end = 'tiny = ["haiku", "greedy"]'

    message = refusal_of(tmp_path, (end, f'{end}\n[{kind}."{name}"]\n{extra}'))

    assert message.startswith(
        f"{kind}: expected a name of lower-case letters and digits with single"
    )


def test_the_longest_name_is_allowed(tmp_path: Path) -> None:
    """It has 64 characters."""
    name = "x" * 64

    matrix = matrix_from(tmp_path, ("[models.mine]", f"[models.{name}]"))

    assert list(matrix.models) == ["tiny", name]


def test_a_built_in_engine_with_a_command_is_refused(tmp_path: Path) -> None:
    """It is unclear which of the two should run."""
    message = refusal_of(tmp_path, ('kind = "llama_cpp"', 'kind = "llama_cpp"\ncommand = ["prog"]'))

    assert message == "engines.exact.command: expected no such key here, found ['prog']"


def test_a_command_engine_without_a_command_is_refused(tmp_path: Path) -> None:
    """The message names the missing key."""
    message = refusal_of(tmp_path, ('command = ["./engine", "--quiet"]', ""))

    assert message == "engines.own: expected the key 'command', found none"


def test_an_empty_command_is_refused(tmp_path: Path) -> None:
    """There is no program to start."""
    message = refusal_of(tmp_path, ('["./engine", "--quiet"]', "[]"))

    assert message == "engines.own.command: expected at least 1 entry, found 0"


_KV = 'kv_type = "f32"'
_GPU = ('kind = "llama_cpp"', 'kind = "llama_cpp"\ndevice = "vulkan"')


def test_a_part_of_a_model_can_be_on_several_gpus(tmp_path: Path) -> None:
    """The settings reach the engine as they are."""
    offload = 'gpu_layers = 3\ngpus = 2\nsplit_mode = "row"\ntensor_split = [1, 0.5]'
    matrix = matrix_from(tmp_path, _GPU, (_KV, f"{_KV}\n{offload}"))

    spec = matrix.models["tiny"].engine
    added = {"gpu_layers": 3, "gpus": 2, "split_mode": "row", "tensor_split": [1, 0.5]}
    assert (spec.device, spec.settings) == ("vulkan", {**EXACT.settings, **added})
    assert (spec.gpu_layers, OWN.gpu_layers, EXACT.gpu_layers) == (3, None, None)


@pytest.mark.parametrize(
    ("setting", "changes", "message"),
    [
        (
            "gpu_layers = 3",
            (),
            (
                "gpu_layers: expected no such setting for the device cpu, where it would have no "
                "effect, found 3"
            ),
        ),
        (
            "tensor_split = [1, 1]",
            (_GPU,),
            (
                "tensor_split: expected no such setting without gpus of at least 2, where it would "
                "have no effect, found a list"
            ),
        ),
        (
            'gpus = 2\nsplit_mode = "tensor"',
            (_GPU,),
            "split_mode: expected layer, or flash_attention = true with tensor, found tensor",
        ),
        (
            "rope_freq_scale = 0.5",
            (),
            (
                "rope_freq_scale: expected no such setting without rope_scaling linear or yarn, "
                "found 0.5"
            ),
        ),
        (
            'kv_type_k = "f16"',
            (),
            (
                "kv_type_k: expected no such key beside kv_type, which stands for kv_type_k and "
                "kv_type_v, found a string"
            ),
        ),
    ],
)
def test_settings_without_effect_are_refused(
    tmp_path: Path, setting: str, changes: tuple[tuple[str, str], ...], message: str
) -> None:
    """llama.cpp would ignore them."""
    found = refusal_of(tmp_path, *changes, (_KV, f"{_KV}\n{setting}"))

    assert found == f"engines.exact.settings.{message}"


LIKE = ("n_ctx = 256\nn_batch = 128", 'like = "llama-server"\nn_ctx = 256')


def test_settings_may_be_those_of_llama_server(tmp_path: Path) -> None:
    """The engine gets each of them, and never the name."""
    matrix = matrix_from(tmp_path, LIKE, ("flash_attention = false", ""), ('kv_type = "f32"', ""))

    assert matrix.models["tiny"].engine.settings == {
        "n_ctx": 256,
        "threads": 1,
        "n_batch": 256,
        "n_ubatch": 256,
        "flash_attention": True,
        "kv_type_k": "f16",
        "kv_type_v": "f16",
        "swa_full": False,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("llama-server", "vllm")], ".like: expected 'llama-server', found 'vllm'"),
        ([("n_ctx = 256\n", "")], ": expected the key 'n_ctx', found none"),
        ([("threads = 1", "")], ": expected the key 'threads', found none"),
        ([("threads = 1", "threads = 1\nn_ubatch = 300")], ".n_ubatch: expected at most n_batch, "),
        ([('"f32"', '"f32"\nkv_type_k = "f16"')], ".kv_type_k: expected no such key beside kv_ty"),
        ([('"f32"', '"q8_0"')], ".kv_type: expected f32, f16 or bf16, or flash_attention = true"),
    ],
)
def test_settings_like_those_of_llama_server_are_refused_as_others(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    """What it takes from the model and the machine is required, and own values must fit."""
    assert refusal_of(tmp_path, LIKE, *changes).startswith(f"engines.exact.settings{message}")


def test_a_command_has_its_own_setting_of_the_name(tmp_path: Path) -> None:
    """Only the settings of the built-in engine are known."""
    engine = matrix_from(tmp_path, ("depth = 3", 'like = "llama-server"')).models["mine"].engine

    assert engine.settings["like"] == "llama-server"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:100", r"cpu\n", "CPU", ""])
def test_an_invalid_device_is_refused(tmp_path: Path, device: str) -> None:
    """Each device has one name."""
    message = refusal_of(tmp_path, ('device = "cuda:1"', f'device = "{device}"'))

    assert message.startswith("engines.own.device: expected a device: cpu, BACKEND")


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    """A later matrix could be misunderstood."""
    message = refusal_of(tmp_path, ("repro-gate/matrix/v1", "repro-gate/matrix/v2"))

    assert message == "schema: expected 'repro-gate/matrix/v1', found 'repro-gate/matrix/v2'"


@pytest.mark.parametrize(
    "table", ["schema", "default_suites", "engines", "models", "sampler", "prompts", "suites"]
)
def test_a_matrix_without_a_key_is_refused(tmp_path: Path, table: str) -> None:
    """The message names the missing key."""
    other = f"x{table}"
    changed = SMALL.replace(f"[{table}", f"[{other}").replace(f"\n{table} =", f"\n{other} =")
    file = tmp_path / "repro-gate.toml"
    file.write_text(changed, "utf-8")

    with pytest.raises(InputInvalid, match=f"{other}|the key '{table}'"):
        read_matrix(file)


def test_a_prompt_overrides_the_sampler(tmp_path: Path) -> None:
    """Its own values win."""
    matrix = matrix_from(tmp_path, ("max_tokens = 4 }", "max_tokens = 4, top_k = 7 }"))

    samplers = {cell.prompt: cell.sampler for cell in matrix.cells()}
    assert samplers == {"haiku": replace(SAMPLED, top_k=7), "greedy": GREEDY}


def test_a_single_run_is_not_a_fresh_one(tmp_path: Path) -> None:
    """A fresh run confirms an earlier one."""
    matrix = matrix_from(tmp_path, ("runs = 3", "runs = 1"))

    assert (matrix.suites["quick"].runs, matrix.suites["quick"].fresh_runs) == (1, 0)


def test_ten_thousand_cells_are_planned(tmp_path: Path) -> None:
    """Each has an id of its own."""
    prompts = [f"p{number}" for number in range(1000)]
    tables = [f'[prompts.{name}]\ntext = "x"\ntemperature = 1\nmax_tokens = 1' for name in prompts]
    seeds = ", ".join(map(str, range(1, 11)))
    matrix = matrix_from(
        tmp_path,
        ("[1, 4294967294]", f"[{seeds}]"),
        ('tiny = ["haiku", "greedy"]', f"tiny = {prompts}\n" + "\n".join(tables)),
    )

    assert len({cell.id for cell in plan(matrix).cells}) == 10_000


def test_the_file_may_have_any_name(tmp_path: Path) -> None:
    """Messages have the name that was given."""
    file = tmp_path / "other.toml"
    file.write_text("x = 1", "utf-8")

    with pytest.raises(InputInvalid, match=r"^.*other\.toml: expected"):
        read_matrix(file)


def test_stop_strings_are_part_of_a_cell(tmp_path: Path) -> None:
    """They are read in their order."""
    text = REPOSITORY.read_text("utf-8")
    file = tmp_path / "repro-gate.toml"
    file.write_text(text.replace("max_tokens = ", 'stop = ["\\n", "."], max_tokens = ', 1), "utf-8")
    stops = {cell.stop for suite in read_matrix(file).suites.values() for cell in suite.cells}
    assert ("\n", ".") in stops
