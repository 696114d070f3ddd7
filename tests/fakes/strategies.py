"""What hypothesis draws values of the core from."""

import dataclasses
from typing import Any

from hypothesis import strategies as st

from repro_gate.core.tokens.cell import MAX_SEED, Cell, Sampler
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.generation import Choice, Generation, Stop, Token
from repro_gate.core.tokens.golden import Golden
from repro_gate.samplers import DRAWING, EXTRAS, PARAMETERS, SAMPLERS, Parameter, Sampling

_words = st.sampled_from(["a", "b", "seed1", "0"])
_more_words = st.lists(st.tuples(st.sampled_from("._-"), _words).map("".join), max_size=3)
names = st.tuples(_words, _more_words.map("".join)).map("".join)
"""Names of few words, so that those of two cells are nearly alike."""
facts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
finite = st.floats(allow_nan=False, allow_infinity=False)
four_decimals = st.integers(-(10**9), 10**9).map(lambda number: number / 10**4)

few_tokens = st.builds(Token, st.integers(0, 1), st.sampled_from([b"a", b"b"]))
any_tokens = st.builds(Token, st.integers(0, 2**31), st.binary(max_size=6))


def _values_of(parameter: Parameter) -> st.SearchStrategy[object]:
    if parameter.is_texts:
        return st.lists(st.sampled_from(["\n", ":", "\u00e9", "ab"]), min_size=1, max_size=3)
    if parameter.is_integer:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(parameter.low, parameter.high)


@st.composite
def _samplings(draw: st.DrawFn) -> Sampling | None:
    names = draw(st.lists(st.sampled_from([*SAMPLERS]), unique=True, max_size=5))
    names = [name for name in names if name not in DRAWING] + [
        name for name in names if name in DRAWING
    ][:1]
    if names and names[-1] in {"mirostat", "mirostat_v2"}:
        names = [name for name in names if name in {"temperature", names[-1]}]
    data: dict[str, object] = {"samplers": names} if names else {}
    for parameter in dict.fromkeys(each for name in names for each in SAMPLERS[name]):
        if parameter in EXTRAS:
            data[parameter] = draw(_values_of(PARAMETERS[parameter]))
    if names and names[-1] in {"mirostat", "mirostat_v2"} and "dynatemp_range" in data:
        data["dynatemp_range"] = 0
    biases = st.tuples(st.integers(0, 2**31 - 1), st.just(value=False) | st.floats(-1e6, 1e6))
    data["logit_bias"] = draw(
        st.lists(biases.map(list), max_size=2, unique_by=lambda bias: str(bias[0]))
    )
    data["ignore_eos"] = draw(st.booleans())
    key = draw(st.sampled_from(["grammar", "json_schema"]))
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
    data[key] = draw(
        texts
        if key == "grammar"
        else st.dictionaries(texts, texts | st.integers(-9, 9), max_size=3)
    )
    return Sampling.parse(data)


_NEUTRAL = Sampler(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
samplings = _samplings()
"""What samplers, biases and grammars there are beside the four parameters of each cell."""


samplers = st.builds(
    Sampler,
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 1000),
    top_p=st.floats(0, 1, exclude_min=True),
    min_p=st.floats(0, 1),
)
further_samplers = samplings.map(lambda sampling: dataclasses.replace(_NEUTRAL, sampling=sampling))
"""With every sampler there is; where one is missing, its parameter has no effect."""

_objects = st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.integers(), max_size=2)
chats = st.fixed_dictionaries(
    {"messages": st.lists(_objects, min_size=1, max_size=3)},
    optional={
        "tools": st.lists(_objects, max_size=2),
        "template_kwargs": _objects,
        "add_generation_prompt": st.booleans(),
        "template": st.text(min_size=1),
    },
).map(Chat.of)
texts_or_chats = st.fixed_dictionaries({"text": st.text()}) | st.fixed_dictionaries(
    {"text": st.just(""), "chat": chats}
)
cells = st.builds(
    lambda asked, **values: Cell(**asked, **values),
    asked=texts_or_chats,
    model=names,
    prompt=names,
    seed=st.integers(1, MAX_SEED),
    max_tokens=st.integers(1, 4096),
    sampler=samplers | further_samplers,
    stop=st.lists(st.text(min_size=1), max_size=2).map(tuple),
)


def token_runs(tokens: st.SearchStrategy[Token]) -> st.SearchStrategy[tuple[Token, ...]]:
    """Draw short sequences of tokens."""
    return st.lists(tokens, max_size=4).map(tuple)


@st.composite
def _with_logits(draw: st.DrawFn, generation: Generation, digits: str) -> Generation:
    """Draw digests for each token, or for none."""
    size = draw(st.sampled_from([0, len(generation.tokens)]))
    digests = st.sampled_from(digits).map(lambda digit: digit * 16)
    logits = draw(st.lists(digests, min_size=size, max_size=size).map(tuple))
    return dataclasses.replace(generation, logits=logits)


near_generations = st.builds(
    Generation,
    prompt=token_runs(few_tokens),
    tokens=token_runs(few_tokens),
    stop=st.sampled_from([Stop.LENGTH, Stop.END_OF_GENERATION]),
).flatmap(lambda generation: _with_logits(generation, "01"))
"""Generations that are often equal, or nearly so."""


@st.composite
def traced_generations(draw: st.DrawFn, logprobs: st.SearchStrategy[float]) -> Generation:
    """Draw a generation with evidence for each of its tokens, or for none."""
    generation = draw(
        st.builds(
            Generation,
            prompt=token_runs(any_tokens),
            tokens=token_runs(any_tokens),
            stop=st.sampled_from([Stop.LENGTH, Stop.END_OF_GENERATION]),
        )
    )
    if draw(st.booleans()):
        generation = dataclasses.replace(
            generation,
            stop=Stop.STOP_STRING,
            stop_string=draw(st.text(min_size=1)),
            content=draw(st.binary()),
        )
    best = st.lists(st.tuples(st.integers(0, 2**31), logprobs), max_size=3).map(tuple)
    choices = st.builds(Choice, logprob=logprobs, best=best)
    size = draw(st.sampled_from([0, len(generation.tokens)]))
    trace = draw(st.lists(choices, min_size=size, max_size=size).map(tuple))
    return draw(_with_logits(dataclasses.replace(generation, trace=trace), "0123456789abcdef"))


def goldens(logprobs: st.SearchStrategy[float]) -> st.SearchStrategy[Golden]:
    """Draw goldens whose log-probabilities come from `logprobs`."""
    return st.builds(
        _golden,
        rendered=st.text(st.characters(codec="utf-8"), min_size=1) | st.just("a\nb\n"),
        cell=cells,
        profile=names,
        generation=traced_generations(logprobs),
        provenance=facts,
    )


def _golden(*, rendered: str, cell: Cell, generation: Generation, **values: Any) -> Golden:
    made = None if cell.chat is None else rendered
    return Golden(cell=cell, generation=dataclasses.replace(generation, rendered=made), **values)
