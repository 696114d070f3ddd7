"""`score`: how likely a model holds given tokens to be, by teacher forcing.

One decode takes the prompt and the response together, with logits for every position that
predicts a token of the response. That is another numeric mode than generation, where a decode
has logits for one token only: the log-probabilities agree with a trace closely, not to the bit.
"""

from repro_gate.engines.llama_cpp.logits import log_softmax
from repro_gate.engines.llama_cpp.messages import ScoreRequest
from repro_gate.engines.llama_cpp.session import Session
from repro_gate.protocol import Json


def score(session: Session, request: ScoreRequest) -> Json:
    """Return the raw log-probability of each token of the response, in nats."""
    tokenizer, decoder = session.tokenizer, session.decoder
    tokenizer.require_known(request.response)
    prompt = tokenizer.encode(request.prompt)
    response = list(request.response)
    session.require_room(len(prompt), len(response))

    # The last token predicts nothing that is asked for.
    decoder.start([*prompt, *response[:-1]], outputs=len(response))
    logprobs = [
        float(log_softmax(decoder.logits(place))[token])
        for place, token in enumerate(response, start=len(prompt) - 1)
    ]
    return {
        "prompt": tokenizer.to_wire(prompt),
        "response": tokenizer.to_wire(response),
        "logprobs": logprobs,
        "timing": {"decode_s": decoder.seconds},
    }
