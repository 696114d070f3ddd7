"""What the engine does for each method of the protocol."""

from dataclasses import replace

from repro_gate.engines.llama_cpp import native, provenance
from repro_gate.engines.llama_cpp.devices import targets
from repro_gate.engines.llama_cpp.inference.generate import generate
from repro_gate.engines.llama_cpp.inference.score import score
from repro_gate.engines.llama_cpp.inference.verify import verify
from repro_gate.engines.llama_cpp.lora import Lora
from repro_gate.engines.llama_cpp.notes import defaults_notes, load_notes
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.engines.model_file import read_model, read_model_file
from repro_gate.engines.requests import (
    DescribeRequest,
    GenerateRequest,
    LoadRequest,
    ScoreRequest,
    VerifyRequest,
)
from repro_gate.engines.serving import Engine
from repro_gate.protocol import Json, bad_request
from repro_gate.settings import Offload, Settings


class LlamaCppEngine(Engine):
    """llama.cpp with at most one model loaded."""

    def __init__(self) -> None:
        native.start()
        self._session: Session | None = None

    def describe(self, request: DescribeRequest) -> Json:
        """Return what the engine is on a device."""
        offload = Offload.parse(request.settings, is_cpu=request.device.is_cpu)
        device = targets.find(request.device, offload)
        return {
            "engine": "llama_cpp",
            "profile": device.profile(),
            "facts": provenance.engine_facts() | device.facts(),
        }

    def load(self, request: LoadRequest) -> Json:
        """Load a model, after freeing the one before it: two may not fit at once."""
        self.close()
        settings = Settings.parse(request.settings, is_cpu=request.device.is_cpu)
        device = targets.find(request.device, settings.offload)
        with device.starting():
            file = read_model(request)
        lora = [
            Lora(file=read_model_file(one.path, expected=one.sha256), scale=one.scale)
            for one in request.lora
        ]
        session = self._session = Session(file, device, settings, request.concurrency, lora=lora)
        return {
            "sha256": file.sha256,
            "size": file.size,
            "layers": session.placement.layers,
            "layers_on_device": session.placement.layers_on_device,
            "facts": provenance.model_facts(session),
            "notes": load_notes(session),
            "concurrency": len(session.slots),
            "room_for_another": session.has_room_for_another(),
            **file.state_to_wire(),
        }

    def generate(self, request: GenerateRequest) -> Json:
        """Run one cell on the loaded model."""
        if request.keep_cache:
            raise bad_request("generate.cache: every run of this engine is cold")
        session = self._loaded()
        rendered: dict[str, str] = {}
        chat_notes: list[str] = []
        if request.chat is not None:
            rendered["rendered"], chat_notes = session.chat_template.render(request.chat)
            request = replace(request, prompt=rendered["rendered"])
        with session.slot() as slot:
            answer = generate(slot, request, contexts=len(session.slots))
        # Once for each cell.
        notes = [*chat_notes, *defaults_notes(session.model, request)] if request.trace else []
        return {**answer, "notes": [*answer["notes"], *notes], **rendered}

    def score(self, request: ScoreRequest) -> Json:
        """Score a response with the loaded model."""
        with self._loaded().slot() as slot:
            return score(slot, request)

    def verify(self, request: VerifyRequest) -> Json:
        """Verify tokens with the loaded model."""
        with self._loaded().slot() as slot:
            return verify(slot, request)

    def close(self) -> None:
        """Free the model, if one is loaded."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _loaded(self) -> Session:
        if self._session is None:
            raise bad_request("no model is loaded")
        return self._session
