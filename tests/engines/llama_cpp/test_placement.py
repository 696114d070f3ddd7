"""The placement of the layers is read from the log, not assumed."""

from repro_gate.engines.llama_cpp.native_log import Level, LogLine
from repro_gate.engines.llama_cpp.placement import Placement, placement_of_weights

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
    weights = placement_of_weights(_lines(WEIGHTS), "CUDA0")
    assert weights == Placement(
        layers=3,
        layers_on_device=2,
        facts={
            "setting.load_mode": "mmap",
            "memory.model": "CPU_Mapped 137.94 MiB, CUDA0 500.84 MiB",
        },
    )


def test_a_device_is_matched_by_its_whole_name() -> None:
    """CUDA1 is not CUDA10."""
    lines = _lines("load_tensors: layer   0 assigned to device CUDA10, is_swa = 0")
    assert placement_of_weights(lines, "CUDA1").layers_on_device == 0


def test_the_context_adds_its_memory_and_its_graph() -> None:
    """The number of splits is how often the computation changes device."""
    weights = placement_of_weights([], "CUDA0")
    assert weights.with_context(_lines(CONTEXT)).facts == {
        "memory.kv": "CUDA0 6.00 MiB",
        "memory.compute": "CUDA0 298.50 MiB, CUDA_Host 2.76 MiB",
        "rope.freq_base": "1000000.0",
        "rope.freq_scale": "1",
        "graph.splits": "2 / 3",
    }
