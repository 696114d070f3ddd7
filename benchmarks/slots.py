"""Print a matrix that shows what the slots of a llama-server do to its answers.

    python -m benchmarks.slots --model FILE [--server PROGRAM] [--device DEVICE] [-- OPTION ...]
    repro-gate update-snapshots --yes
    repro-gate check

Each suite starts llama-server with another number of slots, and compares its answers alone with
those in company, after a kept cache and after a restart. What follows `--` are options of
llama-server, such as `-ngl 99`. `docs/examples/slots/` has the result of an H200.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_CONTEXT: Final = 1024
"""Of each slot."""
_FEW: Final = 4
"""At once in every suite, so that their rows can be compared."""
_HEAD: Final = """\
schema = "repro-gate/matrix/v1"
default_suites = {suites}
snapshots = "snapshots"

[sampler]
top_k = 40
top_p = 0.95
min_p = 0.05

[prompts]
"""
_PROMPT: Final = "{name} = {{ text = {text}, temperature = 0.7, max_tokens = 32 }}\n"
_PROMPTS: Final = {
    "hello": "Hello, my name is",
    "river": "The river behind the old mill was",
    "moon": "Once upon a time, on the far side of the moon,",
    "bread": "To bake bread you need",
    "sea": "The sea was calm and",
}
_SUITE: Final = """
[engines.{name}]
kind = "served"
dialect = "llama_server"
device = "{device}"
serve = {serve}
{profile}
[models.smollm2-{name}]
engine = "{name}"
source = {model}

[suites.{name}]
runs = 4
fresh_runs = 1
seeds = [42, 43]
modes = {{ {modes} }}

[suites.{name}.prompts]
smollm2-{name} = {prompts}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of starting llama-server."""

    name: str
    slots: int
    options: tuple[str, ...] = ()


ROWS: Final = (
    *(Row(f"np{slots}", slots) for slots in (1, 2, 4, 8, 16, 32, 64)),
    Row("np8-unified", 8, ("-kvu",)),
    Row("np32-unified", 32, ("-kvu",)),
    Row("np8-fa-off", 8, ("-fa", "off")),
)


def main() -> None:
    """Print the matrix."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--server", default="llama-server")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", help="the class of machine, where it cannot be found out")
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    serve = (given.server, *given.options)
    print(matrix(given.model, serve, device=given.device, profile=given.profile), end="")


def matrix(
    model: str, serve: Sequence[str], *, device: str = "cpu", profile: str | None = None
) -> str:
    """Return the matrix as TOML; `serve` is the program of llama-server and its options."""
    server, *options = serve
    head = _HEAD.format(suites=json.dumps([row.name for row in ROWS]))
    prompts = "".join(
        _PROMPT.format(name=name, text=json.dumps(text)) for name, text in _PROMPTS.items()
    )
    return (
        head
        + prompts
        + "".join(
            _SUITE.format(
                name=row.name,
                device=device,
                serve=json.dumps([server, *_arguments(row), *row.options, *options]),
                profile="" if profile is None else f"profile = {json.dumps(profile)}\n",
                model=json.dumps(model),
                modes=", ".join(_modes(row)),
                prompts=json.dumps(list(_PROMPTS)),
            )
            for row in ROWS
        )
    )


def _arguments(row: Row) -> Iterator[str]:
    yield from ("-m", "{model}", "-a", "{name}", "--host", "{host}", "--port", "{port}")
    yield from ("-np", str(row.slots), "-c", str(_CONTEXT * row.slots))


def _modes(row: Row) -> Iterator[str]:
    yield 'alone = "bits"'
    for sequences in sorted({_FEW, row.slots} - {1}):
        yield from (f'{kind}-{sequences} = "any"' for kind in ("concurrent", "mixed"))
    yield from (f'{kind} = "any"' for kind in ("after-prefix", "repeat", "restart"))


if __name__ == "__main__":
    main()
