"""The server as a program: `python -m tests.fakes.fireworks`; it ends when its stdin does."""

import argparse
import json
import sys
from contextlib import ExitStack

from tests.fakes.fireworks.conduct import Conduct
from tests.fakes.fireworks.hosting import HostedModel
from tests.fakes.fireworks.noise import Mixture
from tests.fakes.fireworks.server import serving
from tests.fakes.fireworks.weights import HashedWeights, Weights, tiny_weights


def main() -> None:
    """Print the address and the key as one line of JSON, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--tiny", metavar="NAME", help="a tiny model, in place of hashed weights")
    parser.add_argument("--share", type=float, default=0.0, help="of draws that are not exact")
    options = parser.parse_args()
    with ExitStack() as resources:
        weights: Weights = (
            resources.enter_context(tiny_weights(options.tiny)) if options.tiny else HashedWeights()
        )
        model = HostedModel(weights=weights, noise=Mixture(share=options.share))
        conduct = Conduct(latency_s=options.latency)
        api = resources.enter_context(serving(model, conduct=conduct))
        address = {"base_url": api.base_url, "key": api.key, "model": model.name}
        sys.stdout.write(json.dumps(address) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
