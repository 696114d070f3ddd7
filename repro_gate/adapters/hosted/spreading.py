"""Many tasks at several providers, as many at once as each of them is to bear."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from repro_gate.core.policies import ProviderSpec

_Task = TypeVar("_Task")


async def spread(
    tasks: Sequence[_Task],
    make: Callable[[_Task], Awaitable[None]],
    *,
    at: Callable[[_Task], ProviderSpec],
) -> None:
    """Make all tasks; the first exception of one ends the others and is let through.

    Few workers share the tasks, so that ten thousand of them take no more memory than ten.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for provider in dict.fromkeys(map(at, tasks)):
                own = _tasks_at(provider, tasks, at)
                for _ in range(min(provider.concurrency, len(tasks))):
                    group.create_task(_work(own, make))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _tasks_at(
    provider: ProviderSpec, tasks: Sequence[_Task], at: Callable[[_Task], ProviderSpec]
) -> Iterator[_Task]:
    return (task for task in tasks if at(task) == provider)


async def _work(tasks: Iterator[_Task], make: Callable[[_Task], Awaitable[None]]) -> None:
    for task in tasks:
        await make(task)
