"""A container shows the cores and the memory of its machine, and may use less of both."""

import os
from pathlib import Path

import pytest

from repro_gate.engines.host import free_memory, load_average, usable_cores

_ALL_CORES = len(os.sched_getaffinity(0))


def _write(root: Path, files: dict[str, str]) -> dict[str, Path]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {"proc": root / "proc", "cgroups": root / "cg"}


_V1 = {"proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a/b\n1:name=systemd:/\n"}
_V2 = {"proc/self/cgroup": "0::/a/b\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, _ALL_CORES),
        (_V2 | {"cg/a/b/cpu.max": "max 100000\n"}, _ALL_CORES),
        (_V2 | {"cg/a/b/cpu.max": "150000 100000\n"}, 1),
        (_V2 | {"cg/a/b/cpu.max": "50000 100000\n"}, 1),
        (_V2 | {"cg/a/cpu.max": "100000 100000\n"}, 1),
        (_V2 | {"cg/a/b/cpu.max": "99900000 100000\n"}, _ALL_CORES),
        (_V1 | {"cg/cpu/a/cpu.cfs_quota_us": "-1\n", "cg/cpu/a/cpu.cfs_period_us": "9\n"},
         _ALL_CORES),
        (_V1 | {"cg/cpu/a/cpu.cfs_quota_us": "9\n", "cg/cpu/a/cpu.cfs_period_us": "9\n"}, 1),
        (_V1 | {"cg/cpu/cpu.cfs_quota_us": "9\n", "cg/cpu/cpu.cfs_period_us": "9\n"}, 1),
    ],
)  # fmt: skip
def test_a_quota_limits_the_cores(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    """Of this group or of one around it, by either version of control groups."""
    assert usable_cores(**_write(tmp_path, files)) == cores


_MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    1000 kB\nHugePages_Free: 7\n"}
_HALF = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
_PAGES = "anon 5\nactive_file 10\ninactive_file 20\ntotal_active_file 1\ntotal_inactive_file 2\n"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, _HALF),
        ({"proc/meminfo": "MemTotal: 9 kB\n"}, 0),
        (_MEMINFO, 1_024_000),
        (_MEMINFO | _V2 | {"cg/a/b/memory.max": "max\n", "cg/a/b/memory.current": "9\n"},
         1_024_000),
        (_MEMINFO | _V2 | {"cg/a/b/memory.max": "1000\n", "cg/a/b/memory.current": "400\n",
                           "cg/a/b/memory.stat": _PAGES}, 630),
        (_MEMINFO | _V2 | {"cg/memory.max": "1000\n", "cg/memory.current": "1400\n"}, 0),
        (_MEMINFO | _V1 | {"cg/memory/a/memory.limit_in_bytes": "1000\n",
                           "cg/memory/a/memory.usage_in_bytes": "400\n",
                           "cg/memory/a/memory.stat": _PAGES}, 603),
    ],
)  # fmt: skip
def test_a_group_limits_the_memory(tmp_path: Path, files: dict[str, str], free: int) -> None:
    """Pages of files count as free, because the kernel drops them first."""
    assert free_memory(**_write(tmp_path, files)) == free


def test_this_machine_has_cores_and_memory() -> None:
    """The real files are readable here."""
    assert 1 <= usable_cores() <= _ALL_CORES
    assert free_memory() > 2**20


def test_other_systems_have_neither_affinity_nor_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every core counts there, and an unknown load is none."""

    def unknown() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "getloadavg", unknown)
    assert (usable_cores(proc=Path("/none"), cgroups=Path("/none")), load_average()) == (
        os.cpu_count(),
        0.0,
    )
