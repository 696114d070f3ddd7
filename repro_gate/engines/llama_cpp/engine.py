"""What the engine does for each method of the protocol."""

from repro_gate.engines.llama_cpp import devices, native, provenance
from repro_gate.engines.llama_cpp.generation import generate
from repro_gate.engines.llama_cpp.messages import GenerateRequest, LoadRequest, ScoreRequest
from repro_gate.engines.llama_cpp.model_facts import model_facts
from repro_gate.engines.llama_cpp.model_file import read_model_file
from repro_gate.engines.llama_cpp.notes import load_notes
from repro_gate.engines.llama_cpp.scoring import score
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.protocol import Json, Method, bad_request
from repro_gate.strict_json import exact_table, text

_NAME = "llama_cpp"


class LlamaCppEngine:
    """llama.cpp with at most one model loaded."""

    def __init__(self) -> None:
        native.start()
        self._session: Session | None = None

    def handle(self, method: Method, params: Json) -> Json:
        """Return the result, or raise `RequestRefused`."""
        match method:
            case Method.DESCRIBE:
                return self._describe(params)
            case Method.LOAD:
                return self._load(LoadRequest.parse(params))
            case Method.GENERATE:
                return generate(self._loaded(), GenerateRequest.parse(params))
            case Method.SCORE:
                return score(self._loaded(), ScoreRequest.parse(params))

    def close(self) -> None:
        """Free the model, if one is loaded."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _describe(self, params: Json) -> Json:
        name = exact_table(params, "describe", keys=("device",))["device"]
        device = devices.find(devices.parse_device(text(name, "describe.device")))
        return {
            "engine": _NAME,
            "profile": device.profile(),
            "facts": provenance.facts() | device.facts(),
        }

    def _load(self, request: LoadRequest) -> Json:
        # Two models may not fit at once, and nobody shall take the old one for a refused one.
        self.close()
        device = devices.find(request.device)
        file = read_model_file(request.path, expected=request.sha256)
        session = self._session = Session(file, device, request.settings)
        return {
            "sha256": file.sha256,
            "size": file.size,
            "layers": session.placement.layers,
            "layers_on_device": session.placement.layers_on_device,
            "facts": model_facts(session),
            "notes": load_notes(session),
        }

    def _loaded(self) -> Session:
        if self._session is None:
            raise bad_request("no model is loaded")
        return self._session
