"""A server on the loopback with the API of Fireworks, and scores of real tiny models.

    with tiny_weights("tiny-qwen2") as weights:
        with serving(HostedModel(name="accounts/me/models/tiny", weights=weights)) as api:
            ...  # api.base_url, api.key, api.requests, api.follow(...)

An answer is made in steps, one module each:

* `bodies`: the request is validated as strictly as by the API; a field that the server does not
  simulate is rejected rather than ignored;
* `weights`: the tokens are scored, by a tiny model in a real engine process or by a hash, and the
  same question is never scored twice;
* `noise`: every draw of an item gets its own noise, which follows from the seed, the model, the
  item and the number of the draw only, so that concurrency changes nothing;
* `effects`: scripted faults: outliers, other models, other tokens, broken lists, errors;
* `answers`: the rows become the legacy lists or the `content` of the new format;
* `server`: headers, latency, and the socket.

`tests/contract/` proves with the provider's own SDK that the answers are what it expects.
"""
