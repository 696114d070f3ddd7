"""Engines whose output depends on their settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec, Setting
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation
from repro_gate.core.tokens.golden import Facts
from repro_gate.core.tokens.verification import Verification
from repro_gate.ports import VerifyRequest
from repro_gate.settings import facts_of
from tests.fakes.engines import Fault, ScriptedEngine, ScriptedStarter
from tests.fakes.values import (
    answer_to,
    engine_spec_of,
    generation_of,
    model_spec_of,
    verification_of,
)

SETTINGS: Mapping[str, Setting] = {
    "n_ctx": 256,
    "n_batch": 256,
    "threads": 1,
    "flash_attention": True,
    "kv_type": "f16",
}


def model_of(device: str = "cpu", **settings: Setting) -> ModelSpec:
    """Return a model on an engine with some other settings."""
    spec = replace(engine_spec_of(), device=device, settings={**SETTINGS, **settings})
    return replace(model_spec_of(), engine=spec)


def program_of(model: ModelSpec) -> ModelSpec:
    """Return a model on an engine that is a program of its own."""
    spec = replace(model.engine, kind=EngineKind.COMMAND, command=("engine",))
    return replace(model, engine=spec)


def _usual(spec: EngineSpec, cell: Cell) -> Generation:
    del spec
    return answer_to(cell)


def _no_fault(spec: EngineSpec) -> Sequence[Fault]:
    del spec
    return ()


def setting_facts(settings: Mapping[str, Setting]) -> Facts:
    """Return what the built-in engine reports on settings."""
    return {f"setting.{name}": fact for name, fact in facts_of(settings).items()}


def _facts(spec: EngineSpec) -> Facts:
    return setting_facts(spec.settings)


def _verified(asked: VerifyRequest) -> Verification:
    return verification_of(generation_of(*asked.tokens))


@dataclass(slots=True, kw_only=True)
class SettingEngines:
    """Starts engines that answer by their settings, and report them as facts."""

    voice: Callable[[EngineSpec, Cell], Generation] = _usual
    crowded: Callable[[Cell], Generation] | None = None
    """The answer for a run with neighbours, where it is another one."""
    faults: Callable[[EngineSpec], Sequence[Fault]] = _no_fault
    reported: Callable[[EngineSpec], Facts] = _facts
    """What an engine reports on a loaded model."""
    verifies: bool = True
    engines: list[ScriptedEngine] = field(default_factory=list)
    starters: list[ScriptedStarter] = field(default_factory=list)

    def start(self, spec: EngineSpec) -> ScriptedEngine:
        """Start an engine."""
        contexts = spec.settings.get("contexts", 1)
        starter = ScriptedStarter(
            voice=lambda cell: self.voice(spec, cell),
            crowded=self.crowded,
            concurrency=contexts if isinstance(contexts, int) else 1,
            applied=self.reported(spec),
            faults=self.faults(spec),
            verifier=_verified if self.verifies else None,
        )
        engine = starter.start(spec)
        self.engines.append(engine)
        self.starters.append(starter)
        return engine
