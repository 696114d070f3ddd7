"""Small values to test with: cells, generations, goldens and matrices."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from repro_gate.core.engines import EngineKind, EngineSpec, LoraSpec, ModelSpec
from repro_gate.core.logprobs.draw import Encoding, Piece
from repro_gate.core.matrix import Matrix, Suite
from repro_gate.core.tokens.cell import MAX_SEED, Cell, Factor, Sampler
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.controls import Contrast, ControlReport
from repro_gate.core.tokens.generation import Choice, Divergence, Generation, Stop, Token
from repro_gate.core.tokens.golden import Facts, Golden
from repro_gate.core.tokens.grade import Grade, VariantDistance
from repro_gate.core.tokens.reference import CellReference, Reference, claim_digest
from repro_gate.core.tokens.verdicts import Inconclusive
from repro_gate.core.tokens.verification import Share, Verification, VerifiedToken
from repro_gate.ports import Scored, ScoreRequest
from repro_gate.samplers import Sampling

PROFILE = "cpu-test"
SCORE_S = 0.125
ENGINE_FACTS: Facts = {"engine": "scripted", "device.name": "TEST"}

SAMPLED = Sampler(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05)
PENALISED = Sampler(
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    sampling=Sampling.parse(
        {
            "samplers": ["penalties"],
            "repeat_last_n": 64,
            "repeat_penalty": 1.5,
            "frequency_penalty": 0,
            "presence_penalty": 0.5,
        }
    ),
)
"""With further samplers, and without those of the four parameters."""
GREEDY = Sampler(temperature=0.0, top_k=40, top_p=0.95, min_p=0.05)


def cell_of(
    prompt: str = "haiku",
    *,
    seed: int = 42,
    model: str = "tiny",
    sampler: Sampler = SAMPLED,
    max_tokens: int = 4,
) -> Cell:
    """Return a cell whose text is that of its prompt."""
    return Cell(
        model=model,
        prompt=prompt,
        text=f"Say {prompt}",
        seed=seed,
        max_tokens=max_tokens,
        sampler=sampler,
    )


CHAT = Chat.of({"messages": [{"role": "user", "content": "Say it"}]})
"""Of one message."""


def tokens_of(*ids: int) -> tuple[Token, ...]:
    """Return tokens that spell their own ids."""
    return tuple(Token(number, f" {number}".encode()) for number in ids)


def generation_of(
    *ids: int,
    prompt: tuple[int, ...] = (1, 2),
    stop: Stop = Stop.LENGTH,
    is_traced: bool = False,
    logits: str = "",
) -> Generation:
    """Return a generation of the given token ids; `logits` has a hex digit for each step."""
    tokens = tokens_of(*ids)
    return Generation(
        prompt=tokens_of(*prompt),
        tokens=tokens,
        stop=stop,
        trace=trace_of(tokens) if is_traced else (),
        logits=tuple(digit * 16 for digit in logits),
    )


def with_logits(generation: Generation) -> Generation:
    """Return a generation with the digests of a sound engine: each depends on all that precedes."""
    seen = hashlib.sha256(repr(generation.prompt).encode())
    logits: list[str] = []
    for token in generation.tokens:
        logits.append(seen.hexdigest()[:16])
        seen.update(repr(token).encode())
    return replace(generation, logits=tuple(logits))


def trace_of(tokens: Iterable[Token]) -> tuple[Choice, ...]:
    """Return the evidence for tokens that were each one nat ahead of the next best."""
    return tuple(
        Choice(logprob=-0.5, best=((token.id, -0.5), (token.id + 1, -1.5))) for token in tokens
    )


def verification_of(claimed: Generation) -> Verification:
    """Return a verification in which each token was missed by a fiftieth of the interval."""
    return tuple(
        VerifiedToken(
            id=token.id,
            logprob=-1.5,
            best=((token.id + 1, -0.5), (token.id, -1.5)),
            drawn=token.id + 1,
            uniform=0.38,
            share=Share(low=0.4, high=0.6),
            drawn_share=Share(low=0.1, high=0.4),
        )
        for token in claimed.tokens
    )


def answer_to(cell: Cell) -> Generation:
    """Return the output of a sound model, which depends on the prompt and, if sampled, the seed."""
    seed = 0 if cell.sampler.is_greedy else cell.seed
    digest = hashlib.sha256(f"{cell.model}|{cell.text}|{seed}".encode()).digest()
    return generation_of(*digest[: cell.max_tokens], prompt=tuple(map(len, cell.text.split())))


def pieces_of(sent: str | tuple[int, ...]) -> tuple[Piece, ...]:
    """Return what the scripted tokenizer, one token for each byte, makes of a text or of ids."""
    return tuple(
        Piece(id, bytes([id])) for id in (sent.encode() if isinstance(sent, str) else sent)
    )


def scored_of(model: str, asked: ScoreRequest) -> Scored:
    """Return the scores of a sound model, which depend on its name and all earlier tokens."""
    encoding = Encoding(prompt=pieces_of(asked.prompt), response=pieces_of(asked.response))
    seen = f"{model}|{bytes(piece.data[0] for piece in encoding.prompt).hex()}"
    logprobs: list[float] = []
    for piece in encoding.response:
        seen += f"|{piece.id}"
        logprobs.append(-hashlib.sha256(seen.encode()).digest()[0] / 64)
    warmed = None if asked.temperature is None else tuple(p / asked.temperature for p in logprobs)
    return Scored(
        encoding=encoding, logprobs=tuple(logprobs), sampling_logprobs=warmed, engine_s=SCORE_S
    )


def golden_of(
    cell: Cell,
    generation: Generation | None = None,
    *,
    profile: str = PROFILE,
    provenance: Facts | None = None,
) -> Golden:
    """Return the golden of a cell; by default with the output of `answer_to`."""
    return Golden(
        cell=cell,
        profile=profile,
        generation=generation or answer_to(cell),
        provenance=provenance_of(cell.model) if provenance is None else provenance,
    )


def reference_of(
    *goldens: Golden, variant: str = "no-flash-attention", distance: float = 0.0
) -> Reference:
    """Return a reference in which each token of each golden has the same distance."""
    return Reference(
        variant=variant,
        profile=PROFILE,
        measured_on=PROFILE,
        tool_version="0.1.0",
        provenance={"setting.flash_attention": "false"},
        cells={
            golden.cell.id: CellReference(
                golden=claim_digest(golden),
                distances=(distance,) * len(golden.generation.tokens),
                kl_divergence=0.004,
            )
            for golden in goldens
        },
    )


def grade_of(*, p_value: float = 0.02, detectable_shift: float = 0.03) -> Grade:
    """Return a grade by statistics; by default it is consistent with rounding."""
    variant = VariantDistance(
        name="no-flash-attention", distance=0.01, p_value=min(p_value, 0.02), kl_divergence=0.004
    )
    return Grade(
        suite="quick",
        model="tiny",
        cells=10,
        tokens=240,
        distance=0.02,
        explained=0.9,
        kl_divergence=0.005,
        same_best=0.96,
        variants=(variant,),
        p_value=p_value,
        tests=1,
        detectable_shift=detectable_shift,
    )


def digest_of(model: str) -> str:
    """Return the sha256 that every scripted engine reports for a model."""
    return hashlib.sha256(model.encode()).hexdigest()


def model_facts_of(model: str) -> Facts:
    """Return the facts that a scripted engine reports about a loaded model."""
    return {"model.name": model, "model.sha256": digest_of(model)}


def provenance_of(model: str) -> Facts:
    """Return the provenance of outputs of a scripted engine with a model."""
    return {**ENGINE_FACTS, **model_facts_of(model)}


def engine_spec_of(name: str = "scripted") -> EngineSpec:
    """Return the specification of an engine."""
    return EngineSpec(
        name=name,
        kind=EngineKind.LLAMA_CPP,
        command=(),
        device="cpu",
        settings={"threads": 1},
        timeout_s=1.0,
        pass_env=(),
    )


def model_spec_of(
    name: str = "tiny", *, engine: str = "scripted", sha256: str | None = None
) -> ModelSpec:
    """Return the specification of a model."""
    return ModelSpec(
        name=name, engine=engine_spec_of(engine), source=f"builtin:{name}", sha256=sha256
    )


def lora_of(name: str = "tiny", *, number: int = 1, sha256: str | None = None) -> LoraSpec:
    """Return an adapter of a model."""
    source = f"adapter-{number}.gguf"
    return LoraSpec(name=name, source=source, sha256=sha256, number=number, scale=0.5)


def suite_of(*cells: Cell, name: str = "quick", runs: int = 3, fresh_runs: int = 1) -> Suite:
    """Return a suite; by default its last run is in a fresh process."""
    return Suite(name=name, runs=runs, fresh_runs=fresh_runs, cells=cells)


def matrix_of(*suites: Suite, engines: Mapping[str, str] | None = None) -> Matrix:
    """Return a matrix whose default is its first suite.

    Args:
        suites: the suites; their cells say which models there are.
        engines: the engine of each model that is not on `scripted`.
    """
    names = dict.fromkeys(cell.model for suite in suites for cell in suite.cells)
    return Matrix(
        models={
            name: model_spec_of(name, engine=(engines or {}).get(name, "scripted"))
            for name in names
        },
        suites={suite.name: suite for suite in suites},
        default_suites=(suites[0].name,),
        snapshots="snapshots",
    )


def contrast_of(cell: Cell | None = None, factor: Factor = Factor.SEED) -> Contrast:
    """Return a cell and another that differs by one factor alone."""
    cell = cell or cell_of()
    match factor:
        case Factor.SEED:
            varied = replace(cell, seed=cell.seed % MAX_SEED + 1)
        case Factor.PROMPT:
            varied = cell.with_input(f"{cell.text}, and then?", prompt="other")
        case _:
            assert_never(factor)
    return Contrast(factor=factor, cell=cell, varied=varied)


def control_of(
    cell: Cell | None = None,
    *,
    factor: Factor = Factor.SEED,
    divergence: Divergence | None = None,
    problem: Inconclusive | None = None,
) -> ControlReport:
    """Return what a control found: no difference, unless there is a divergence or a problem."""
    return ControlReport(contrast=contrast_of(cell, factor), divergence=divergence, problem=problem)
