"""How much of its machine this process may use; a container often has less than the machine."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return the number of cores: those of the affinity, or fewer if a quota allows fewer."""
    quotas = [
        quota // period
        for group in _groups("cpu", proc=proc, cgroups=cgroups)
        for quota, period in _quotas(group)
    ]
    return max(1, min([cores(), *quotas]))


def cores() -> int:
    """Return the number of cores that the affinity allows; only Linux and some BSDs have one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float:
    """Return the load of the last minute; 0 if it is unknown."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0


def free_memory(*, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return about how many bytes can be allocated without swapping; 0 if it is unknown."""
    groups = _groups("memory", proc=proc, cgroups=cgroups)
    free = [*_available(proc), *(left for group in groups for left in _left_in(group))]
    return max(0, min(free, default=0))


def _available(proc: Path) -> Iterator[int]:
    kilobytes = _table(proc / "meminfo").get("MemAvailable:")
    if kilobytes is not None:
        yield kilobytes * 1024
    elif not (proc / "meminfo").exists():
        # Other systems only report how much there is; half of it is a cautious guess.
        with contextlib.suppress(OSError, ValueError):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _groups(controller: str, *, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, from the inside out."""
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        inner = root / path.strip("/")
        yield inner
        for outer in inner.parents:
            if outer.is_relative_to(root):
                yield outer


def _quotas(group: Path) -> Iterator[tuple[int, int]]:
    """Yield microseconds of computing, and the period that they are for, if they are limited."""
    first = next(iter(_lines(group / "cpu.max")), "").split()
    words = first or [
        word
        for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        for word in _lines(group / name)[:1]
    ]
    if len(words) == 2 and all(map(str.isdecimal, words)):  # noqa: PLR2004 -- quota and period
        yield int(words[0]), int(words[1])


def _left_in(group: Path) -> Iterator[int]:
    """Yield what a group leaves of its limit; pages of files can be dropped."""
    files = _table(group / "memory.stat")
    for limit_name, used_name, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        values = _lines(group / limit_name)[:1] + _lines(group / used_name)[:1]
        if len(values) == 2 and all(map(str.isdecimal, values)):  # noqa: PLR2004 -- both are there
            droppable = sum(files.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            yield int(values[0]) - int(values[1]) + droppable


def _table(path: Path) -> dict[str, int]:
    rows = [line.split() for line in _lines(path)]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
