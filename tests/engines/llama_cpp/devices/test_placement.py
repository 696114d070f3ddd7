"""The placement of the layers is read from the log, not assumed, and so is what a context takes."""

import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.engines.llama_cpp.devices.placement import (
    Memory,
    Placement,
    default_contexts,
    fitting_contexts,
    has_room_for_another,
    memory_of_buffers,
    placement_of_weights,
)
from repro_gate.engines.llama_cpp.native_log import Level, LogLine
from repro_gate.settings import SplitMode

# As llama.cpp 0c1e57098 writes them (src/llama-model.cpp, src/llama-context.cpp).
WEIGHTS = """\
load_tensors: loading model tensors, this can take a while... (load_mode = mmap)
load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA0, is_swa = 0
load_tensors: offloaded 2/3 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   137.94 MiB
load_tensors:        CUDA0 model buffer size =   500.84 MiB
"""
CONTEXT = """\
llama_context: freq_base             = 1000000.0
llama_context: freq_scale            = 1
llama_kv_cache:      CUDA0 KV buffer size =     6.00 MiB
sched_reserve:      CUDA0 compute buffer size =   298.50 MiB
sched_reserve:  CUDA_Host compute buffer size =     2.76 MiB
sched_reserve: graph (pp bs=256, tg bs=1): nodes = 846 / 847, splits = 2 / 3, input objects = 4
"""


def _lines(text: str) -> list[LogLine]:
    return [LogLine(Level.INFO, line) for line in text.splitlines()]


def test_layers_are_counted_by_device() -> None:
    """Two of three are on the GPU here, although all were requested."""
    weights = placement_of_weights(_lines(WEIGHTS), {"CUDA0"})
    assert weights == Placement(
        layers=3,
        layers_on_device=2,
        facts={
            "setting.load_mode": "mmap",
            "memory.model": "CPU_Mapped 137.94 MiB, CUDA0 500.84 MiB",
            "layers": "1 on CPU, 2 on CUDA0",
        },
    )


def test_a_device_is_matched_by_its_whole_name() -> None:
    """CUDA1 is not CUDA10."""
    lines = _lines("load_tensors: layer   0 assigned to device CUDA10, is_swa = 0")
    assert placement_of_weights(lines, {"CUDA1"}).layers_on_device == 0


def test_layers_on_any_of_several_devices_count() -> None:
    """Of two GPUs each has its part; those that share tensors have one name."""
    log = "".join(
        f"load_tensors: layer   {layer} assigned to device {name}, is_swa = 0\n"
        for layer, name in enumerate(["CPU", "CUDA0", "CUDA0", "CUDA1", "Meta(CUDA0,CUDA1)"])
    )
    weights = placement_of_weights(_lines(log), {"CUDA0", "CUDA1", "Meta(CUDA0,CUDA1)"})
    assert (weights.layers, weights.layers_on_device) == (5, 4)
    assert weights.facts["layers"] == ("1 on CPU, 2 on CUDA0, 1 on CUDA1, 1 on Meta(CUDA0,CUDA1)")


def test_the_context_adds_its_memory_and_its_graph() -> None:
    """The number of splits is how often the computation changes device."""
    weights = placement_of_weights([], {"CUDA0"})
    assert weights.with_context(_lines(CONTEXT)).facts == {
        "memory.kv": "CUDA0 6.00 MiB",
        "memory.compute": "CUDA0 298.50 MiB, CUDA_Host 2.76 MiB",
        "rope.freq_base": "1000000.0",
        "rope.freq_scale": "1",
        "graph.splits": "2 / 3",
    }


_MIB = 2**20


def test_the_memory_of_a_context_is_that_of_its_buffers() -> None:
    """On a GPU and beside it; without a GPU all is on the host. Mapped pages are shared."""
    lines = _lines(CONTEXT + "llama_context:  CUDA_Host  output buffer size =     0.50 MiB\n")
    assert memory_of_buffers(lines, gpus={"CUDA0"}) == Memory(
        gpu=int(304.5 * _MIB), host=int(2.76 * _MIB) + _MIB // 2
    )
    assert memory_of_buffers(_lines(WEIGHTS), gpus={"CUDA0"}) == Memory(gpu=int(500.84 * _MIB))
    assert memory_of_buffers(_lines(WEIGHTS), gpus=()) == Memory(host=int(500.84 * _MIB))


@pytest.mark.parametrize(
    ("backend", "cores", "threads", "contexts"),
    [
        ("cuda", 1, 8, 16),
        ("vulkan", 8, 1, 1),
        ("cpu", 8, 1, 8),
        ("cpu", 8, 3, 2),
        ("cpu", 8, 9, 1),
        ("cpu", 64, 1, 16),
        ("cpu", 1, 1, 1),
    ],
)
def test_a_device_has_a_default_number_of_contexts(
    backend: str, cores: int, threads: int, contexts: int
) -> None:
    """16 on an NVIDIA GPU; on a CPU no core has two threads; 1 where nothing is known."""
    assert default_contexts(backend, cores=cores, threads=threads) == contexts
    assert default_contexts(backend, SplitMode.TENSOR, cores=cores, threads=threads) == 1


@pytest.mark.parametrize(
    ("gpu", "host", "contexts"),
    [
        (139 * 1024, 100 * 1024, 16),
        (1280 + 556, 100 * 1024, 2),
        (1280 + 555, 100 * 1024, 1),
        (1280 + 7 * 556, 100 * 1024, 8),
        (139 * 1024, 512 + 10, 2),
        (139 * 1024, 512 + 35, 4),
        (0, 0, 1),
    ],
)
def test_contexts_fit_in_memory_with_a_reserve(gpu: int, host: int, contexts: int) -> None:
    """A context of 300 MiB takes 256 more when it first decodes, and 1 GiB stays free."""
    one = Memory(gpu=300 * _MIB, host=10 * _MIB)
    free = Memory(gpu=gpu * _MIB, host=host * _MIB)
    assert fitting_contexts(16, one=one, free=free) == contexts


_SIZES = st.builds(Memory, gpu=st.integers(0, 2**40), host=st.integers(0, 2**40))


@given(wanted=st.integers(1, 64), one=_SIZES, free=_SIZES)
def test_all_that_fit_are_made_and_no_more(wanted: int, one: Memory, free: Memory) -> None:
    """One more would not fit, and more memory never means fewer."""
    found = fitting_contexts(wanted, one=one, free=free)
    assert 1 <= found <= wanted
    assert found <= fitting_contexts(wanted, one=one, free=free + Memory(gpu=_MIB, host=_MIB))
    taken = (found - 1) * one.host + 512 * _MIB
    assert found == 1 or taken <= free.host


def test_another_process_needs_the_weights_and_a_context() -> None:
    """On a GPU the weights again; on a CPU their mapped pages are shared."""
    model, one = Memory(gpu=4096 * _MIB), Memory(gpu=300 * _MIB, host=10 * _MIB)
    free = Memory(gpu=(4096 + 300 + 768 + 1024 + 5 * 256) * _MIB, host=2048 * _MIB)
    on_gpu = partial(has_room_for_another, model=model, one=one, made=4)
    assert on_gpu(free=free)
    assert not on_gpu(free=free - Memory(gpu=1))
    host = (100 * 3 + 512 + 512) * _MIB
    on_cpu = partial(has_room_for_another, model=Memory(), one=Memory(host=100 * _MIB), made=2)
    assert on_cpu(free=Memory(gpu=sys.maxsize, host=host))
    assert not on_cpu(free=Memory(gpu=sys.maxsize, host=host - 1))
