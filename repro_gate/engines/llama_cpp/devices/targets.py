"""The devices in the registry of ggml that a model can be put on."""

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Thread

from repro_gate.engines.llama_cpp import native
from repro_gate.engines.llama_cpp.devices import profiles
from repro_gate.protocol import CPU, GPU_BACKENDS, DeviceRequest, Refusal, RequestRefused
from repro_gate.settings import Offload

_OTHER_NAMES = {"mtl": "metal", "htp": "hexagon"}
"""Of backends that the registry calls by another name."""
_WHOLE = Offload()


@dataclass(frozen=True, kw_only=True)
class Device:
    """An available device."""

    handle: native.DeviceHandle
    name: str
    """What llama.cpp calls it in its log: `CPU`, `CUDA0`."""
    description: str
    """The name that its maker gave it."""
    backend: str
    """`cpu`, or one of `GPU_BACKENDS`."""
    index: int
    """Among the devices of its backend."""

    @property
    def is_gpu(self) -> bool:
        """Whether the layers of a model are moved to it; a software driver takes them too."""
        return self.backend != CPU

    @property
    def kind(self) -> str:
        """What computes: `cpu`, `gpu`, `integrated gpu`, or `software` that acts as a GPU."""
        if not self.is_gpu:
            return "cpu"
        if self._gpu.is_software:
            return "software"
        is_integrated = native.device_type(self.handle) == native.DEVICE_TYPE_INTEGRATED_GPU
        return "integrated gpu" if is_integrated else "gpu"

    @cached_property
    def _gpu(self) -> profiles.Profile:
        return profiles.gpu_profile(
            self.backend, self.index, description=self.description, lines=native.LOG.since(0)
        )

    def free_memory(self) -> int:
        """Return the bytes that are free on a GPU."""
        return native.free_memory(self.handle)

    @contextmanager
    def starting(self) -> Generator[None]:
        """Start a GPU, which takes a third of a second, while something else is done."""
        if not self.is_gpu:
            yield
            return
        # The first call that needs the device starts it for the whole process.
        thread = Thread(target=self.free_memory)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def profile(self) -> str:
        """Return the profile for which goldens recorded on this device are valid."""
        return self._gpu.name if self.is_gpu else profiles.cpu_profile()

    def facts(self) -> dict[str, str]:
        """Return the known facts about the device."""
        known = {"name": self.name, "description": self.description, "kind": self.kind}
        if self.is_gpu:
            known |= self._gpu.facts
        return {f"device.{name}": value for name, value in known.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The devices of a model, in order, and how much of it is on them."""

    devices: tuple[Device, ...]
    """One, or several GPUs of a backend."""
    offload: Offload

    @property
    def backend(self) -> str:
        """The backend of all devices."""
        return self.devices[0].backend

    @property
    def is_gpu(self) -> bool:
        """Whether layers of a model are moved to it."""
        return self.devices[0].is_gpu

    @property
    def name(self) -> str:
        """What llama.cpp calls the devices."""
        return ", ".join(device.name for device in self.devices)

    @property
    def log_names(self) -> frozenset[str]:
        """The names of the devices in the log, which has one name for all that share tensors."""
        names = [device.name for device in self.devices]
        return frozenset([*names, "Meta()", f"Meta({','.join(names)})"])

    def free_memory(self) -> int:
        """Return the bytes that are free on the GPUs, if each holds the same."""
        return min(device.free_memory() for device in self.devices) * len(self.devices)

    @contextmanager
    def starting(self) -> Generator[None]:
        """Start the GPUs while something else is done."""
        with ExitStack() as started:
            for device in self.devices:
                started.enter_context(device.starting())
            yield

    def profile(self) -> str:
        """Return the profile for which goldens recorded on these devices are valid."""
        names = [device.profile() for device in self.devices]
        name = names[0] if len(names) == 1 else profiles.of_several(names)
        # Of how many layers is known when a model is loaded; each golden is for one model.
        layers = self.offload.gpu_layers
        part = "" if layers is None else f"-{layers}-layers"
        if self.is_gpu and not self.offload.offload_kqv:
            part += "-without-kv"
        return profiles.limited(name, f"{part}-{profiles.cpu_profile()}") if part else name

    def facts(self) -> dict[str, str]:
        """Return the known facts about the devices, each different value once."""
        values: dict[str, dict[str, None]] = {}
        for device in self.devices:
            for name, value in device.facts().items():
                values.setdefault(name, {})[value] = None
        return {name: ", ".join(found) for name, found in values.items()}


def find(request: DeviceRequest, offload: Offload = _WHOLE) -> Target:
    """Return the requested devices; refuse if one is missing, and never fall back to another."""
    available = list(_devices())
    wanted = range(request.index, request.index + offload.gpus)
    ours = [d for d in available if d.backend == request.backend and d.index in wanted]
    if len(ours) == len(wanted):
        return Target(devices=tuple(ours), offload=offload)
    found = ", ".join(device.name for device in available) or "none"
    errors = " / ".join(_errors(request.backend))
    is_one = len(wanted) == 1
    what = f"{request.name} is" if is_one else f"{len(wanted)} GPUs from {request.name} on are"
    raise RequestRefused(
        Refusal.DEVICE_UNAVAILABLE,
        f"{what} not among the devices of this llama.cpp ({found})"
        + (f"; its log: {errors}" if errors else ""),
    )


def _devices() -> Iterator[Device]:
    """Yield the CPU and the GPUs of this machine, not those of another one (RPC)."""
    counts = Counter[str]()
    for number in range(native.device_count()):
        handle = native.get_device(number)
        registered = native.backend_name(handle).decode().lower()
        backend = _OTHER_NAMES.get(registered, registered)
        if backend in {CPU, *GPU_BACKENDS}:
            yield Device(
                handle=handle,
                name=native.device_name(handle).decode(),
                description=native.device_description(handle).decode("utf-8", errors="replace"),
                backend=backend,
                index=counts[backend],
            )
            counts[backend] += 1


def _errors(backend: str) -> Iterator[str]:
    for error in native.LOG.errors_since(0):
        if backend in error.lower():
            yield error
