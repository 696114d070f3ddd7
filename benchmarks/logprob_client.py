"""How near the hosted client comes to the ideal, and what stopping early saves.

    python -m benchmarks.logprob_client [--draws N] [--rounds N]

A server of our own, in a process of its own, answers every call after 50 ms. Prints, one line each:
* client/ideal: wall time of 500 draws at concurrency 16 over 32 rounds of 50 ms, the least and the
  median of the rounds; no client can be below 1;
* httpx/ideal: the same for bare httpx with as many tasks, which parses and checks nothing;
* saved: draws of a first look that were not made, of a service that repeats nine in ten draws.
"""

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from repro_gate.adapters.hosted.scorer import HostedScorer
from repro_gate.adapters.http.retry import Runtime
from repro_gate.core.logprobs.draw import Draw, DrawOutcome, Encoding
from repro_gate.core.logprobs.policy import (
    Budget,
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
)
from repro_gate.ports import DrawRequest, Purpose
from tests.fakes.gating import recorded_scene
from tests.fakes.scoring import Mixture, NoisyScorer, suite_of_logprobs

_ROOT = Path(__file__).resolve().parents[1]
_CONCURRENCY = 16
_LATENCY_S = 0.05
_KEY_VARIABLE = "BENCHMARK_KEY"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--matrices", type=int, default=20)
    options = parser.parse_args()
    ideal = math.ceil(options.draws / _CONCURRENCY) * _LATENCY_S
    ours: list[float] = []
    bare: list[float] = []
    with _server() as served, _scorer(served) as scorer:
        cell = _cell(served)
        (encoding,) = scorer.encode([cell])
        if not isinstance(encoding, Encoding):
            raise SystemExit(f"the server does not encode: {encoding}")
        for _ in range(options.rounds):
            ours.append(_seconds_of_client(scorer, cell, encoding, options.draws))
            bare.append(asyncio.run(_seconds_of_httpx(served, encoding, options.draws)))
    print(f"{options.draws} draws, {_LATENCY_S * 1e3:.0f} ms, concurrency {_CONCURRENCY}")
    for name, seconds in (("client/ideal", ours), ("httpx/ideal", bare)):
        least, middle = min(seconds), statistics.median(seconds)
        print(f"{name:<13} {least / ideal:.3f} (median {middle / ideal:.3f}; {least:.3f} s)")
    _print_saved(options.matrices)


def _print_saved(matrices: int) -> None:
    made = saved = 0
    for seed in range(matrices):
        scene = recorded_scene(NoisyScorer(noise=Mixture(), seed=seed), suite_of_logprobs(items=60))
        spending = scene.check().spending
        made += spending.calls
        saved += spending.saved
    share = saved / (60 * 5 * matrices)
    print(
        f"saved         {share:.1%} of the draws of first looks; {made / matrices:.0f} calls in "
        f"place of 300, for 60 cells of a service that repeats 9 in 10 draws ({matrices} matrices)"
    )


def _seconds_of_client(
    scorer: HostedScorer, cell: LogprobCell, encoding: Encoding, draws: int
) -> float:
    requests = [
        DrawRequest(cell=cell, encoding=encoding, purpose=Purpose.FIRST_LOOK, number=number)
        for number in range(1, draws + 1)
    ]
    outcomes: list[DrawOutcome] = []
    started = time.perf_counter()
    scorer.draw(requests, seen=lambda _, outcome: outcomes.append(outcome))
    seconds = time.perf_counter() - started
    unlike = [outcome for outcome in outcomes if not isinstance(outcome, Draw)]
    if unlike or len(outcomes) != draws:
        raise SystemExit(f"not every draw came: {unlike[:1]}")
    return seconds


async def _seconds_of_httpx(served: dict[str, str], encoding: Encoding, draws: int) -> float:
    body = {
        "model": served["model"],
        "prompt": [piece.id for piece in (*encoding.prompt, *encoding.response)],
        "max_tokens": 0,
        "echo": True,
        "echo_last": len(encoding.response),
        "logprobs": True,
    }
    limits = httpx.Limits(max_connections=_CONCURRENCY)
    headers = {"Authorization": f"Bearer {served['key']}"}
    async with httpx.AsyncClient(limits=limits, headers=headers) as client:
        await client.post(f"{served['base_url']}/completions", json=body)
        left = iter(range(draws))

        async def work() -> None:
            for _ in left:
                await client.post(f"{served['base_url']}/completions", json=body)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(work())
        return time.perf_counter() - started


@contextmanager
def _scorer(served: dict[str, str]) -> Generator[HostedScorer]:
    runtime = Runtime(environ={_KEY_VARIABLE: served["key"]})
    scorer = HostedScorer(Budget(), runtime=runtime)
    try:
        yield scorer
    finally:
        scorer.close()


@contextmanager
def _server() -> Generator[dict[str, str]]:
    command = [sys.executable, "-m", "tests.fakes.fireworks", "--latency", str(_LATENCY_S)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None  # noqa: S101 -- a pipe was asked for
            served: dict[str, str] = json.loads(server.stdout.readline())
            yield served
        finally:
            server.terminate()


def _cell(served: dict[str, str]) -> LogprobCell:
    provider = ProviderSpec(
        name="own",
        kind=ProviderKind.FIREWORKS,
        base_url=served["base_url"],
        api_key_env=_KEY_VARIABLE,
        concurrency=_CONCURRENCY,
    )
    policy = Policy(
        name="base",
        provider=provider,
        model=served["model"],
        system="",
        template="{prompt}",
        temperature=0.7,
        logprobs=LogprobKind.RAW,
    )
    item = Item(
        name="paper-airplane",
        prompt="How do I make a paper airplane?",
        response=" Fold a sheet of paper in half.",
    )
    return LogprobCell(policy=policy, item=item)


if __name__ == "__main__":
    main()
