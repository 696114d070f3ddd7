"""Our client and the provider's own SDK read the same numbers from the same server."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, get_type_hints

import pytest
from fireworks.types.completion_create_params import CompletionCreateParamsNonStreaming
from fireworks.types.shared.new_log_probs import NewLogProbs

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.adapters.http.retry import Runtime
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import (
    Budget,
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
)
from repro_gate.core.tokens.generation import Token
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.fireworks.conduct import Conduct, Dialect
from tests.fakes.fireworks.effects import AnswerAs, Misread, Put, Resize, Rule
from tests.fakes.fireworks.hosting import MODEL, HostedModel
from tests.fakes.fireworks.noise import Gaussian
from tests.fakes.fireworks.server import Api, serving
from tests.fakes.fireworks.weights import TinyWeights

if TYPE_CHECKING:
    from tests.contract.conftest import SdkMaker
    from tests.fakes.fireworks.effects import Effect

TEMPERATURE = 0.7
GENERIC = Conduct(dialect=Dialect.GENERIC, allows_no_tokens=False)


class _Client:
    """The scorer, at one server."""

    def __init__(self, api: Api, resources: ExitStack, kind: ProviderKind) -> None:
        environ = {"KEY_OF_THE_TESTS": api.key}
        runtime = Runtime(environ=environ)
        scorer = HostedScorer(Budget(), runtime=runtime)
        self._scorer = resources.enter_context(closing(scorer))
        self._provider = ProviderSpec(
            name="fake",
            kind=kind,
            base_url=api.base_url,
            api_key_env="KEY_OF_THE_TESTS",
            attempts=1,
            timeout_s=20.0,
        )

    def cell(self, logprobs: LogprobKind) -> LogprobCell:
        """Return an item under a policy."""
        policy = Policy(
            name="policy",
            provider=self._provider,
            model=MODEL,
            system="Be brief.",
            template="{system} {prompt}",
            temperature=TEMPERATURE,
            logprobs=logprobs,
        )
        item = Item(name="item", prompt="The quick brown fox", response=" jumps over the dog.")
        return LogprobCell(policy=policy, item=item)

    def encoding(self, cell: LogprobCell) -> Encoding:
        """Return the tokens of a cell."""
        (encoding,) = self._scorer.encode([cell])
        assert isinstance(encoding, Encoding), encoding
        return encoding

    def draws(self, cell: LogprobCell, encoding: Encoding, *, count: int = 1) -> list[DrawOutcome]:
        """Return draws of a cell."""
        outcomes: list[DrawOutcome] = []
        requests = [
            DrawRequest(
                cell=cell,
                encoding=encoding,
                purpose=Purpose.FIRST_LOOK,
                number=number,
                answers_as=MODEL,
            )
            for number in range(1, count + 1)
        ]
        self._scorer.draw(requests, seen=lambda _, outcome: outcomes.append(outcome))
        return outcomes


class _Clients:
    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources

    def of(self, api: Api, kind: ProviderKind = ProviderKind.FIREWORKS) -> _Client:
        """Return our client for a server."""
        return _Client(api, self._resources, kind)


@pytest.fixture
def clients() -> Iterator[_Clients]:
    """Give a function that connects our client to servers."""
    with ExitStack() as resources:
        yield _Clients(resources)


@pytest.mark.parametrize("kind", LogprobKind)
def test_our_client_and_the_sdk_read_the_same_numbers(
    clients: _Clients, sdk_of: "SdkMaker", qwen2: TinyWeights, kind: LogprobKind
) -> None:
    """Exactly, raw or after the temperature; and they are those of the engine."""
    with serving(HostedModel(weights=qwen2)) as api:
        client = clients.of(api)
        cell = client.cell(kind)
        encoding = client.encoding(cell)
        (draw,) = client.draws(cell, encoding)
        prompt, response = (
            [piece.id for piece in pieces if piece.id is not None]
            for pieces in (encoding.prompt, encoding.response)
        )
        answer = sdk_of(api).completions.create(
            model=MODEL,
            prompt=prompt + response,
            max_tokens=0,
            echo_last=len(response),
            logprobs=True,
            temperature=TEMPERATURE,
            top_p=1,
            top_k=0,
        )

    assert isinstance(draw, Draw), draw
    assert isinstance(answer.choices[0].logprobs, NewLogProbs)
    rows = answer.choices[0].logprobs.content or []
    field = {LogprobKind.RAW: "logprob", LogprobKind.SAMPLING: "sampling_logprob"}[kind]
    assert draw.logprobs == tuple(getattr(row, field) for row in rows)
    engine = qwen2.ask(prompt=tuple(prompt), response=tuple(response), temperature=TEMPERATURE)
    expected = engine.logprobs if kind is LogprobKind.RAW else engine.sampling_logprobs
    assert draw.logprobs == expected
    assert b"".join(piece.data for piece in encoding.prompt).decode() == cell.prefix


def test_our_client_sends_only_fields_of_the_sdk(clients: _Clients, qwen2: TinyWeights) -> None:
    """Neither to encode nor to draw."""
    with serving(HostedModel(weights=qwen2)) as api:
        client = clients.of(api)
        cell = client.cell(LogprobKind.RAW)
        client.draws(cell, client.encoding(cell))

    sent = {field for asked in api.requests for field in asked.body}
    assert "echo_last" in sent
    assert sent - set(get_type_hints(CompletionCreateParamsNonStreaming)) == set()
    assert all(asked.is_authorized for asked in api.requests)


def test_our_client_reads_a_generic_compatible_api(clients: _Clients, qwen2: TinyWeights) -> None:
    """Texts in place of ids, a full echo, and an unrequested token."""
    with serving(HostedModel(weights=qwen2), conduct=GENERIC) as api:
        client = clients.of(api, ProviderKind.OPENAI)
        cell = client.cell(LogprobKind.RAW)
        encoding = client.encoding(cell)
        (draw,) = client.draws(cell, encoding)

    assert isinstance(draw, Draw), draw
    ids = qwen2.tokenize(cell.prefix + cell.item.response)
    expected, _ = qwen2.score(ids, first=1, temperature=None)
    assert draw.logprobs == expected[-len(encoding.response) :]
    assert not encoding.has_ids


def test_draws_differ_by_the_noise(clients: _Clients, qwen2: TinyWeights) -> None:
    """Every draw of our client is a new one."""
    with serving(HostedModel(weights=qwen2, noise=Gaussian(1.0))) as api:
        client = clients.of(api)
        cell = client.cell(LogprobKind.RAW)
        draws = client.draws(cell, client.encoding(cell), count=8)

    totals = {draw.total for draw in draws if isinstance(draw, Draw)}
    assert len(totals) == 8
    assert max(totals) - min(totals) < 8


@pytest.mark.parametrize(
    "effect",
    [
        Put(value=float("nan"), token=2),
        Put(value=float("-inf")),
        Put(value=None),
        Put(value=0.5),
        Misread(token=1, becomes=Token(5, b"&")),
        AnswerAs(model="another"),
    ],
    ids=repr,
)
def test_scripted_faults_are_invalid_to_our_client(
    clients: _Clients, qwen2: TinyWeights, effect: "Effect"
) -> None:
    """None of them passes for a measurement."""
    outcomes = _scripted(clients, qwen2, effect)

    assert [type(outcome) for outcome in outcomes] == [InvalidDraw]


@pytest.mark.parametrize("by", [-1, 1])
def test_an_echo_of_another_length_is_not_measured(
    clients: _Clients, qwen2: TinyWeights, by: int
) -> None:
    """Its tokens are those that were sent, as far as they go."""
    outcomes = _scripted(clients, qwen2, Resize(by=by))

    assert [type(outcome) for outcome in outcomes] == [MissedDraw]


def _scripted(clients: _Clients, qwen2: TinyWeights, effect: "Effect") -> Sequence[DrawOutcome]:
    """Return the draws of a server with one scripted effect."""
    with serving(HostedModel(weights=qwen2)) as api:
        client = clients.of(api)
        cell = client.cell(LogprobKind.RAW)
        encoding = client.encoding(cell)
        api.follow(Rule(effect=effect))
        return client.draws(cell, encoding)
