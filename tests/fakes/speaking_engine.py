"""An engine that implements protocol v1 without repro-gate: `speaking_engine.py CHANGES`.

CHANGES is JSON, how it differs from a correct engine:

* `describe`, `load`, `generate`, `score` and `verify`: values of the result to put in place of
  the good ones;
* `without`: keys of the result to leave out;
* `answer`: values of the whole answer, such as its `id`;
* `raw`: a text to write instead of the answer;
* `drip_s`: the seconds to wait after each byte of the answer;
* `log`: a file to which every request is added as it came;
* `facts`: `pid`, `folder` or `environment`, reported by `describe`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_PROTOCOL = "repro-gate/engine/v1"


def main() -> None:
    """Answer until stdin ends."""
    changes = json.loads(sys.argv[1])
    for line in sys.stdin.buffer:
        if "log" in changes:
            with Path(changes["log"]).open("ab") as log:
                log.write(line)
        _say(_answer(json.loads(line), changes), changes)


def _answer(request: dict[str, Any], changes: dict[str, Any]) -> str:
    if "raw" in changes:
        return str(changes["raw"])
    method, params = request["method"], request["params"]
    result = _RESULTS[method](params, changes) | changes.get(method, {})
    for key in changes.get("without", ()):
        result.pop(key, None)
    answer = {"protocol": _PROTOCOL, "id": request["id"], "result": result}
    return json.dumps(answer | changes.get("answer", {}))


def _say(answer: str, changes: dict[str, Any]) -> None:
    data = answer.encode() + b"\n"
    pause_s = changes.get("drip_s", 0)
    for part in [data[i : i + 1] for i in range(len(data))] if pause_s else [data]:
        sys.stdout.buffer.write(part)
        sys.stdout.flush()
        time.sleep(pause_s)


def _describe(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    facts = {
        None: {"device": params["device"]},
        "pid": {"pid": str(os.getpid())},
        "folder": {"folder": str(Path.cwd())},
        "environment": dict(os.environ),
    }
    reported = facts[changes.get("facts")]
    return {"engine": "speaking", "profile": "test-cpu", "facts": reported}


def _load(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    del changes
    facts = {"model.name": params["model"]}
    return {"sha256": "5a" * 32, "size": 9, "layers": 4, "layers_on_device": 4, "facts": facts}


def _generate(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    del changes
    tokens = [[7, b" 7".hex()], [8, b" 8".hex()]]
    trace = [{"logprob": -0.5, "best": [[id, -0.5], [0, -1.5]]} for id, _ in tokens]
    return {
        "prompt": [[1, b"Say".hex()], [2, ""]],
        "tokens": tokens,
        "stop": "end_of_generation",
        "timing": {"decode_s": 0.25, "sample_s": 0.5},
    } | ({"trace": trace} if params["trace"] else {})


def _score(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    del changes
    warmed = {"sampling_logprobs": [-1.0, -0.5]} if "temperature" in params else {}
    return {
        "prompt": [[1, b"Say".hex()], [2, ""]],
        "response": [[7, b" 7".hex()], [8, b" 8".hex()]],
        "logprobs": [-0.5, -0.25],
        "timing": {"decode_s": 0.25},
    } | warmed


def _verify(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    del changes
    entry = {
        "logprob": -1.5,
        "best": [[3, -0.5], [7, -1.5]],
        "drawn": 3,
        "uniform": 0.25,
        "share": [0.5, 0.75],
        "drawn_share": [0.0, 0.5],
    }
    return {"tokens": [entry for _ in params["tokens"]], "timing": {"decode_s": 0.25}}


_RESULTS = {
    "describe": _describe,
    "load": _load,
    "generate": _generate,
    "score": _score,
    "verify": _verify,
}


if __name__ == "__main__":
    main()
