"""The engine protocol, v1: JSON Lines between the gate and an engine process.

The gate writes one request on a line of the engine's stdin and reads one answer from its
stdout; the engine writes nothing else there. Schema: `repro_gate/schemas/engine-v1.json`,
reference: `docs/reference/engine-protocol.md`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

PROTOCOL = "repro-gate/engine/v1"
MAX_LINE_BYTES = 16 * 2**20
"""Of one request or answer."""
MAX_RENDERED: Final = 1 << 20
"""Characters of the text of one chat."""
MAX_CONCURRENCY: Final = 1024
"""Requests in flight at a time."""

CPU: Final = "cpu"
GPU_BACKENDS: Final = (
    *("cann", "cuda", "hexagon", "metal", "musa", "opencl", "openvino", "rocm", "sycl", "vulkan"),
    "webgpu",
)
"""The backends of ggml that compute whole layers on a device, by their names in its registry."""
DEVICE_FORM: Final = (
    "cpu, BACKEND or BACKEND:N with N up to 99, where BACKEND is one of " + ", ".join(GPU_BACKENDS)
)
_DEVICE = re.compile(rf"{CPU}|(?P<backend>{'|'.join(GPU_BACKENDS)})(?::(?P<index>0|[1-9][0-9]?))?")

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """The device that the gate asks for."""

    name: str
    """As written in the request."""
    backend: str
    """`cpu`, or one of `GPU_BACKENDS`."""
    index: int
    """Among the devices of the backend."""

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.backend == CPU


def requested_device(name: str) -> DeviceRequest | None:
    """Parse a name of the form `DEVICE_FORM`; returns None for anything else."""
    match = _DEVICE.fullmatch(name)
    if match is None:
        return None
    return DeviceRequest(name, match["backend"] or CPU, int(match["index"] or 0))


class Method(StrEnum):
    """The methods of a request."""

    DESCRIBE = "describe"
    LOAD = "load"
    GENERATE = "generate"
    SCORE = "score"
    VERIFY = "verify"


class Refusal(StrEnum):
    """The kinds of error with which an engine answers a request."""

    BAD_REQUEST = "bad_request"
    MODEL_INVALID = "model_invalid"
    DIGEST_MISMATCH = "digest_mismatch"
    DEVICE_UNAVAILABLE = "device_unavailable"
    OUT_OF_CONTEXT = "out_of_context"
    NOT_FINITE = "not_finite"
    SERVER_UNAVAILABLE = "server_unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class WireToken:
    """A token on the wire: `[id, hex]`."""

    id: int
    data: bytes

    def to_wire(self) -> list[int | str]:
        """Return the JSON form."""
        return [self.id, self.data.hex()]


class RequestRefused(Exception):
    """Raised in an engine to answer the request with a typed error."""

    def __init__(self, kind: Refusal, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def bad_request(message: str) -> RequestRefused:
    """Return the error for a request that breaks the protocol."""
    return RequestRefused(Refusal.BAD_REQUEST, message)


def request(number: int, method: Method, params: Json) -> dict[str, Any]:
    """Return a request as JSON data."""
    return {"protocol": PROTOCOL, "id": number, "method": method.value, "params": dict(params)}


def result(number: int, value: Json) -> dict[str, Any]:
    """Return a successful answer as JSON data."""
    return {"protocol": PROTOCOL, "id": number, "result": dict(value)}


def refusal(number: int | None, kind: Refusal, message: str) -> dict[str, Any]:
    """Return a typed error as JSON data; `number` is None when the request had no readable id."""
    return {
        "protocol": PROTOCOL,
        "id": number,
        "error": {"kind": kind.value, "message": message},
    }
