"""The key of a provider, read from the environment."""

from collections.abc import Mapping

from repro_gate.adapters.http.secret import Secret, is_sendable
from repro_gate.core.policies import ProviderSpec
from repro_gate.errors import MeasurementUnavailable


def read_key(provider: ProviderSpec, environ: Mapping[str, str]) -> Secret:
    """Return the key of a provider.

    Raises:
        MeasurementUnavailable: its variable is not set, or holds what is no key; the message
            names the variable and never what it holds.
    """
    name = provider.api_key_env
    if name is None:
        return Secret()
    secret = environ.get(name, "")
    remedy = f"set {name} to a key of {provider.name}"
    if not secret.strip():
        raise MeasurementUnavailable(f"{name} is not set", remedy=remedy)
    if not is_sendable(secret):
        raise MeasurementUnavailable(
            f"{name} holds a space, a line break or another character that no key has",
            remedy=remedy,
        )
    return Secret(secret)
