"""The simulation of the logprob gate runs, and prints what it promises."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from benchmarks.simulated_matrices import Task, simulate
from benchmarks.simulated_worlds import MovedItems
from tests.fakes.scoring import Mixture

_ROOT = Path(__file__).parents[2]
_PROGRAM = (sys.executable, "-m", "benchmarks.logprob_power", "--quick")
_AMOUNT = ("--matrices", "2", "--detections", "1", "--processes", "2")


@cache
def _printed() -> str:
    printed = subprocess.run(
        [*_PROGRAM, *_AMOUNT], cwd=_ROOT, check=True, capture_output=True, text=True
    )
    return printed.stdout


def _rows(name: str) -> list[list[str]]:
    lines = [line for line in _printed().splitlines() if line.startswith(f"| {name}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_without_a_change_nothing_is_found() -> None:
    """Neither service makes the gate alarm in a handful of matrices, of 60, 5 and 20 cells."""
    found = [row[:3] for row in _rows("ours: any finding")]
    assert found == [["ours: any finding", "0 of 2", "0.00%"]] * 6


def test_a_large_change_is_found() -> None:
    """The same simulation can show a difference, with looks of 5 and of 6 draws."""
    found = [row[:4] for row in _rows("one token by 2, sum kept")]
    assert found == [["one token by 2, sum kept", "1", "100%", "100%"]] * 4


def test_a_matrix_is_the_same_in_every_process() -> None:
    """How many processes there are changes no number."""
    task = Task(
        service="any",
        noise=Mixture(),
        change=MovedItems(4.0, is_everywhere=False),
        number=3,
        with_stated=False,
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(simulate, task).result() == simulate(task)
