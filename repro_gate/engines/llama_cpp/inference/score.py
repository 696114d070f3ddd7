"""`score`: how likely a model holds a given response to be, by teacher forcing.

The prompt and the response are decoded together, with logits for every position that predicts a
token of the response. Generation has logits for one token per decode, which is another
numeric mode: the log-probabilities agree with a trace closely, but not to the bit.

Where a model has an encoder, that reads the prompt; a response is then a text of its own.
"""

from reprlib import repr as short

from repro_gate.engines.llama_cpp.inference.logits import Softmax
from repro_gate.engines.llama_cpp.notes import prompt_notes, split_notes
from repro_gate.engines.llama_cpp.session import Slot
from repro_gate.engines.llama_cpp.tokenizer import Tokenizer
from repro_gate.engines.requests import ScoreRequest
from repro_gate.protocol import Json, bad_request


def score(slot: Slot, request: ScoreRequest) -> Json:
    """Return the log-probability of each token of the response, in nats.

    With a temperature in the request, the log-probabilities at that temperature are added.
    """
    tokenizer, decoder = slot.tokenizer, slot.decoder
    prompt, response = _tokens(slot, request)
    first = len(decoder.first_tokens(prompt))
    slot.require_context(first, len(response))

    found = _logprobs(slot, prompt, response, request.temperature)
    notes = split_notes(first + len(response) - 1, slot.settings)
    if isinstance(request.prompt, str):
        notes += prompt_notes(tokenizer, prompt)
    return {
        "prompt": tokenizer.to_wire(prompt),
        "response": tokenizer.to_wire(response),
        **found,
        "timing": {"decode_s": decoder.seconds},
        "notes": notes,
    }


def _logprobs(
    slot: Slot, prompt: list[int], response: list[int], temperature: float | None
) -> dict[str, list[float]]:
    softmax = Softmax(slot.tokenizer.size)
    found: dict[str, list[float]] = {"logprobs": []}
    if temperature is not None:
        found["sampling_logprobs"] = []
    rows = slot.decoder.score(prompt, response)
    for logits, token in zip(rows, response, strict=True):
        found["logprobs"].append(softmax.logprob(logits, token))
        if temperature is not None:
            logprob = softmax.logprob(logits, token, temperature=temperature)
            found["sampling_logprobs"].append(logprob)
    return found


def _tokens(slot: Slot, request: ScoreRequest) -> tuple[list[int], list[int]]:
    tokenizer, prompt = slot.tokenizer, _tokenized(slot, request.prompt)
    if not isinstance(request.prompt, str) or not isinstance(request.response, str):
        return prompt, _tokenized(slot, request.response)
    if slot.decoder.has_encoder:
        response = tokenizer.encode(request.response)
    else:
        response = _continuation(tokenizer, prompt, request.prompt + request.response)
    _require_spelled(tokenizer, response, request.response)
    return prompt, response


def _tokenized(slot: Slot, given: str | list[int]) -> list[int]:
    if isinstance(given, str):
        return slot.tokenize(given)
    slot.tokenizer.require_known(given)
    return given


def _continuation(tokenizer: Tokenizer, prompt: list[int], text: str) -> list[int]:
    # Tokenized alone, a response would start with what the tokenizer puts before a text.
    both = tokenizer.encode(text)
    for alone, together in zip(prompt, both, strict=False):
        if alone != together:
            raise bad_request(
                "score: the boundary between prompt and response falls within a token: together "
                f"they have {_shown(tokenizer, together)} where the prompt alone has "
                f"{_shown(tokenizer, alone)}"
            )
    return both[len(prompt) :]


def _require_spelled(tokenizer: Tokenizer, response: list[int], text: str) -> None:
    """Refuse tokens whose bytes are not the text; some tokenizers drop spaces, for example."""
    spelled, wanted = b"".join(map(tokenizer.piece, response)), text.encode()
    # SentencePiece puts a space before a text, and after a special token.
    if spelled not in {wanted, b" " + wanted}:
        raise bad_request(
            f"score: the tokens of the response spell {short(spelled)}, not {short(wanted)}"
        )


def _shown(tokenizer: Tokenizer, token: int) -> str:
    return f"{token} {short(tokenizer.piece(token))}"
