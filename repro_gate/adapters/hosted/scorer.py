"""Log-probabilities of hosted models: concurrent calls behind a synchronous port."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from repro_gate.adapters.hosted.client import read_key
from repro_gate.adapters.hosted.limits import Ledger
from repro_gate.adapters.hosted.metadata import ObservedBackends
from repro_gate.adapters.hosted.provider import ProviderClient
from repro_gate.adapters.http.retry import HttpFailure, Runtime
from repro_gate.core.logprobs.alignment import ScoredTwice
from repro_gate.core.logprobs.draw import Encoding, InvalidDraw, MissedDraw
from repro_gate.core.logprobs.policy import Budget, LogprobCell, Policy, ProviderSpec
from repro_gate.core.report import Note
from repro_gate.core.text import escape_text
from repro_gate.core.tokens.golden import Facts
from repro_gate.errors import MeasurementUnavailable
from repro_gate.ports import DrawRequest, Seen

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_Encoded = Encoding | InvalidDraw | MissedDraw
_TextKey = tuple[ProviderSpec, str, str, str, frozenset[tuple[str, str]]]


async def spread(
    tasks: Sequence[_Task],
    make: Callable[[_Task], Awaitable[None]],
    *,
    at: Callable[[_Task], ProviderSpec],
) -> None:
    """Make all tasks, as many at once as each provider allows; the first exception ends them all.

    A few workers share the tasks, so that ten thousand of them take no more memory than ten.
    """

    async def work(own: Iterator[_Task]) -> None:
        for task in own:
            await make(task)

    try:
        async with asyncio.TaskGroup() as group:
            for provider in dict.fromkeys(map(at, tasks)):
                own = iter([task for task in tasks if at(task) == provider])
                for _ in range(min(provider.concurrency, len(tasks))):
                    group.create_task(work(own))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class HostedScorer:
    """Measures at hosted APIs; see `repro_gate.ports.Scorer`.

    It keeps one pool of connections for each provider, from the first use until it is closed.
    """

    def __init__(self, budget: Budget, *, runtime: Runtime | None = None) -> None:
        self._runtime = runtime or Runtime()
        self._ledger = Ledger(budget)
        self._backends = ObservedBackends()
        self._clients: dict[ProviderSpec, ProviderClient | MissedDraw] = {}
        """The outcome of every draw in place of a client that cannot be opened."""
        self._runner: asyncio.Runner | None = None

    def source(self, policy: Policy) -> str:
        """Return the name of the policy's provider; raises `MeasurementUnavailable` without a key.

        Without a key no baseline could be recorded, so none is called missing.
        """
        read_key(policy.provider, self._runtime.environ)
        return policy.provider.name

    def facts(self, policy: Policy) -> Facts:
        """Return where the policy's model is, and what has answered for it so far."""
        provider = policy.provider
        return {
            "provider": provider.kind.value,
            "provider.host": escape_text(provider.place),
            **self._backends.facts(policy),
        }

    def notes(self) -> tuple[Note, ...]:
        """Return the notes so far."""
        return tuple(self._backends.notes)

    def encode(self, cells: Sequence[LogprobCell]) -> Sequence[_Encoded]:
        """Return the tokens of each cell, with one request for cells of the same text and model."""
        found: dict[_TextKey, _Encoded] = {}

        async def make(cell: LogprobCell) -> None:
            found[_text_key(cell)] = await self._ask(cell, lambda client: client.encode(cell))

        different = list({_text_key(cell): cell for cell in cells}.values())
        self._run(spread(different, make, at=_provider_of))
        return [found[_text_key(cell)] for cell in cells]

    def score_twice(self, cell: LogprobCell, encoding: Encoding) -> ScoredTwice | MissedDraw | None:
        """Compare the log-probabilities of generated tokens with those of their echo."""
        if cell.policy.generates:
            return None
        found: list[ScoredTwice | MissedDraw] = []

        async def make(cell: LogprobCell) -> None:
            found.append(await self._ask(cell, lambda client: client.score_twice(cell, encoding)))

        self._run(spread([cell], make, at=_provider_of))
        return found[0]

    def draw(self, requests: Sequence[DrawRequest], *, seen: Seen) -> None:
        """Make the draws, and report each as soon as it is made."""

        async def make(request: DrawRequest) -> None:
            seen(request, await self._ask(request.cell, lambda client: client.draw(request)))

        self._run(spread(requests, make, at=lambda request: _provider_of(request.cell)))

    def paused(self, seconds: float) -> None:
        """Move the deadline of every provider in use."""
        for client in self._clients.values():
            if isinstance(client, ProviderClient):
                client.paused(seconds)

    def close(self) -> None:
        """Close all connections; may be called again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._close_clients())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(self._tidied(work))
        except BaseException:
            runner, self._runner = self._runner, None
            # No call may continue. A signal that stopped the loop between two tasks is raised
            # again as the tasks end, and is being raised already.
            with contextlib.suppress(BaseException):
                # asyncio would print the exception a second time, as one that no task retrieved.
                runner.get_loop().set_exception_handler(_ignore)
                runner.close()
            raise

    async def _tidied(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BaseException:
            await self._close_clients()
            raise

    async def _close_clients(self) -> None:
        while self._clients:
            _, client = self._clients.popitem()
            if isinstance(client, ProviderClient):
                await client.aclose()

    async def _ask(
        self, cell: LogprobCell, ask: Callable[[ProviderClient], Awaitable[_Result]]
    ) -> _Result | MissedDraw:
        client = self._client(_provider_of(cell))
        return client if isinstance(client, MissedDraw) else await ask(client)

    def _client(self, provider: ProviderSpec) -> ProviderClient | MissedDraw:
        if provider not in self._clients:
            try:
                self._clients[provider] = ProviderClient(
                    provider, ledger=self._ledger, backends=self._backends, runtime=self._runtime
                )
            except (HttpFailure, MeasurementUnavailable) as error:
                self._clients[provider] = MissedDraw(reason=error.reason, remedy=error.remedy)
        return self._clients[provider]


def _provider_of(cell: LogprobCell) -> ProviderSpec:
    return cell.policy.provider


def _text_key(cell: LogprobCell) -> _TextKey:
    policy = cell.policy
    # A generated reference depends on everything, and a given response on its text only.
    facts = cell.definition if policy.generates else {**policy.call_facts, "system": policy.system}
    called = {name: value for name, value in facts.items() if name not in {"policy", "item"}}
    return policy.provider, policy.model, cell.prefix, cell.item.response, frozenset(called.items())


def _ignore(*_: object) -> None:
    """Print nothing: the exception is raised anyway."""
