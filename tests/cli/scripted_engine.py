"""An engine of protocol v1 without a model: its answers come from a script.

`python scripted_engine.py SCRIPT.json`. Without rules, answers depend on model, prompt and seed,
and scores also on the response. In scored text each byte is a token, with its value as the id. The
script is read again for every request; its keys:

* `profile` and `facts`, for `describe`;
* `log`, a file that gets a line of JSON for every start and every request;
* `rules`: the first one that matches changes the answer. A rule matches when all of its `method`,
  `model`, `prompt`, `response`, `seed` and `time` do. `time` counts equal requests of all
  processes, from 1. Prompt and response are texts, even if token ids were sent.

A rule can `sleep` for some seconds; write `stderr` or a `half` line; `exit`, or send itself a
`signal`; write `raw` bytes; `refuse` with an error; replace values by those of its `result`;
`shift` every log-probability of a score by some nats.

The setting `voice` changes every output. With `verifies` in the script it verifies tokens: as many
as the setting `missed` are not drawn again, and `moved` lowers their log-probabilities.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_PROTOCOL = "repro-gate/engine/v1"
_FITTED = ("method", "model", "prompt", "response", "seed", "time")


def main() -> None:
    """Answer until stdin ends."""
    script_file = Path(sys.argv[1])
    _log(json.loads(script_file.read_text("utf-8")), {"pid": os.getpid(), "method": "start"})
    model, settings = "", dict[str, Any]()
    for line in sys.stdin.buffer:
        script = json.loads(script_file.read_text("utf-8"))
        request = json.loads(line)
        params = request["params"]
        model, settings = params.get("model", model), params.get("settings", settings)
        asked = {
            "pid": os.getpid(),
            "method": request["method"],
            "model": model,
            "prompt": _text(params.get("prompt")),
            "response": _text(params.get("response")),
            "seed": params.get("seed"),
            "device": params.get("device"),
        }
        rule = _rule(script, {**asked, "time": _logged(script, asked)})
        answer = {"protocol": _PROTOCOL, "id": request["id"]}
        reply = _apply(rule, {**asked, **params}) if rule else None
        if reply is None:
            reply = {"result": _answer(script, {**asked, "settings": settings, **params}, rule)}
        if isinstance(reply, bytes):
            sys.stdout.buffer.write(reply)
        else:
            sys.stdout.buffer.write(json.dumps(answer | reply).encode() + b"\n")
        sys.stdout.flush()


def _log(script: dict[str, Any], event: dict[str, Any]) -> Path:
    log = Path(script["log"])
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(event) + "\n")
    return log


def _logged(script: dict[str, Any], asked: dict[str, Any]) -> int:
    """Add a request to the log, and return the how-manieth of its kind it is."""
    log = _log(script, asked)
    if not any("time" in rule for rule in script["rules"]):
        return 0
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    kinds = [{**entry, "pid": None} for entry in entries]
    return kinds.count({**asked, "pid": None})


def _rule(script: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any] | None:
    for rule in script["rules"]:
        if all(rule[key] == asked[key] for key in _FITTED if key in rule):
            return dict(rule)
    return None


def _apply(rule: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any] | bytes | None:
    """Apply a rule; return None when the usual answer follows."""
    time.sleep(rule.get("sleep", 0))
    sys.stderr.write(rule.get("stderr", ""))
    sys.stderr.flush()
    sys.stdout.write(rule.get("half", ""))
    sys.stdout.flush()
    if "signal" in rule:
        os.kill(asked["pid"], rule["signal"])
    if "exit" in rule:
        sys.exit(rule["exit"])
    if "raw" in rule:
        return str(rule["raw"]).encode("utf-8", errors="surrogateescape")
    if "refuse" in rule:
        return {"error": rule["refuse"]}
    return None


def _answer(script: dict[str, Any], asked: dict[str, Any], rule: dict[str, Any] | None) -> Any:
    changes = (rule or {}).get("result", {})
    if asked["method"] == "describe":
        facts = {"device.name": "TEST", **script["facts"]}
        return {"engine": "scripted", "profile": script["profile"], "facts": facts} | changes
    if asked["method"] == "load":
        digest = hashlib.sha256(Path(asked["path"]).read_bytes()).hexdigest()
        size = {"size": 1, "layers": 2, "layers_on_device": 2}
        return {"sha256": digest, **size, "facts": {"model.name": asked["model"]}} | changes
    if asked["method"] == "score":
        return _scored(asked, shift=(rule or {}).get("shift", 0)) | changes
    if asked["method"] == "verify" and "verifies" in script:
        return _verified(asked, **{"missed": 0, "moved": 0.0} | _numbers(asked["settings"]))
    reply = _generated(asked)
    if asked.get("logits"):
        reply["logits"] = _logits(reply)
    reply |= changes
    choices = [{"logprob": -0.5, "best": [[id, -0.5], [256, -1.5]]} for id, _ in reply["tokens"]]
    return {**reply, "trace": choices} if asked["trace"] else reply


def _numbers(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("missed", "moved") if name in settings}


def _generated(asked: dict[str, Any]) -> dict[str, Any]:
    text = f"{asked['model']}|{asked['prompt']}|{asked['seed'] if asked['temperature'] else 0}"
    text += asked["settings"].get("voice", "")
    digest = hashlib.sha256(text.encode()).digest()
    return {
        "prompt": [_token(ord(character) % 256) for character in asked["prompt"]],
        "tokens": [_token(number) for number in digest[: asked["max_tokens"]]],
        "stop": "length",
        "timing": {"decode_s": 0.001, "sample_s": 0.001},
    }


def _logits(reply: dict[str, Any]) -> list[str]:
    """Return digests that depend on the prompt and on all tokens before."""
    steps = (str([reply["prompt"], reply["tokens"][:step]]) for step in range(len(reply["tokens"])))
    return [hashlib.blake2b(step.encode()).hexdigest()[:16] for step in steps]


def _scored(asked: dict[str, Any], *, shift: float) -> dict[str, Any]:
    prompt, response = _ids(asked["prompt"]), _ids(asked["response"])
    temperature = asked.get("temperature")
    logprobs: list[float] = []
    for place in range(len(response)):
        text = f"{asked['model']}|{prompt}|{response[: place + 1]}"
        logprobs.append(shift - hashlib.sha256(text.encode()).digest()[0] / 64)
    reply = {
        "prompt": [[number, f"{number:02x}"] for number in prompt],
        "response": [[number, f"{number:02x}"] for number in response],
        "logprobs": logprobs,
        "timing": {"decode_s": 0.001},
    }
    if temperature is None:
        return reply
    return {**reply, "sampling_logprobs": [value / temperature for value in logprobs]}


def _verified(asked: dict[str, Any], *, missed: int, moved: float) -> dict[str, Any]:
    entries = [
        {
            "logprob": -0.5 - moved,
            "best": [[number, -0.5 - moved], [256, -1.5]],
            "drawn": 256 if place < missed else number,
            "uniform": 0.5,
            "share": [0.6, 0.7] if place < missed else [0.4, 0.6],
            "drawn_share": [0.4, 0.6],
        }
        for place, number in enumerate(asked["tokens"])
    ]
    return {"tokens": entries, "timing": {"decode_s": 0.001}}


def _ids(sent: str | list[int]) -> list[int]:
    return list(sent.encode()) if isinstance(sent, str) else sent


def _text(sent: str | list[int] | None) -> str | None:
    return bytes(sent).decode(errors="replace") if isinstance(sent, list) else sent


def _token(number: int) -> list[int | str]:
    return [number, f" {number}".encode().hex()]


if __name__ == "__main__":
    main()
