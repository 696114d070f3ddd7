"""An engine of protocol v1 that needs no model: it says what a script tells it to.

`python scripted_engine.py SCRIPT.json`. Without rules it heeds model, prompt and seed, and in a
score the response, as a good engine does. In a text that is scored each byte is a token, whose id
is its value. The script is read anew for every request; its keys:

* `profile` and `facts`, for `describe`;
* `log`, a file to which every start and every request is added as a line of JSON;
* `rules`, of which the first one that fits decides what happens instead of an answer. A rule fits
  when all of its `method`, `model`, `prompt`, `response`, `seed` and `time` do, as far as it has
  them. `time` counts the equal requests of all processes, from 1. Prompt and response are meant as
  texts, also where token ids were sent.

What a rule may do: `sleep` so many seconds; say `stderr` or a `half` line; `exit`, or send itself
a `signal`; say something `raw`; `refuse` with an error; put values of its `result` in place of the
usual ones; `shift` every log-probability of a score by so many nats.
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
    model = ""
    for line in sys.stdin.buffer:
        script = json.loads(script_file.read_text("utf-8"))
        request = json.loads(line)
        params = request["params"]
        model = params.get("model", model)
        asked = {
            "pid": os.getpid(),
            "method": request["method"],
            "model": model,
            "prompt": _text(params.get("prompt")),
            "response": _text(params.get("response")),
            "seed": params.get("seed"),
        }
        rule = _rule(script, {**asked, "time": _logged(script, asked)})
        answer = {"protocol": _PROTOCOL, "id": request["id"]}
        said = _apply(rule, {**asked, **params}) if rule else None
        if said is None:
            said = {"result": _answer(script, {**asked, **params}, rule)}
        if isinstance(said, bytes):
            sys.stdout.buffer.write(said)
        else:
            sys.stdout.buffer.write(json.dumps(answer | said).encode() + b"\n")
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
    said = _generated(asked) | changes
    choices = [{"logprob": -0.5, "best": [[id, -0.5], [256, -1.5]]} for id, _ in said["tokens"]]
    return {**said, "trace": choices} if asked["trace"] else said


def _generated(asked: dict[str, Any]) -> dict[str, Any]:
    text = f"{asked['model']}|{asked['prompt']}|{asked['seed'] if asked['temperature'] else 0}"
    digest = hashlib.sha256(text.encode()).digest()
    return {
        "prompt": [_token(ord(character) % 256) for character in asked["prompt"]],
        "tokens": [_token(number) for number in digest[: asked["max_tokens"]]],
        "stop": "length",
        "timing": {"decode_s": 0.001, "sample_s": 0.001},
    }


def _scored(asked: dict[str, Any], *, shift: float) -> dict[str, Any]:
    prompt, response = _ids(asked["prompt"]), _ids(asked["response"])
    temperature = asked.get("temperature")
    logprobs: list[float] = []
    for place in range(len(response)):
        text = f"{asked['model']}|{prompt}|{response[: place + 1]}"
        logprobs.append(shift - hashlib.sha256(text.encode()).digest()[0] / 64)
    said = {
        "prompt": [[number, f"{number:02x}"] for number in prompt],
        "response": [[number, f"{number:02x}"] for number in response],
        "logprobs": logprobs,
        "timing": {"decode_s": 0.001},
    }
    if temperature is None:
        return said
    return {**said, "sampling_logprobs": [value / temperature for value in logprobs]}


def _ids(sent: str | list[int]) -> list[int]:
    return list(sent.encode()) if isinstance(sent, str) else sent


def _text(sent: str | list[int] | None) -> str | None:
    return bytes(sent).decode(errors="replace") if isinstance(sent, list) else sent


def _token(number: int) -> list[int | str]:
    return [number, f" {number}".encode().hex()]


if __name__ == "__main__":
    main()
