"""Read the recipient's policy, from the file that the recipient names and from nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from repro_gate.adapters.files.documents import read_toml
from repro_gate.adapters.sign_off.keys import KeyInvalid, public_key_of
from repro_gate.core.sign_off.policy import Policy, Signers, TrustedKey
from repro_gate.core.sign_off.statement import repository_uri
from repro_gate.errors import InputInvalid


def read_policy(file: Path) -> Policy:
    """Return the policy of a file.

    Raises:
        InputInvalid: it breaks its schema, a key is none, or its parts contradict each other.
    """
    document = read_toml(file, schema="policy-v1")
    required, freshness = document["required"], document["freshness"]
    waivers: Mapping[str, Any] | None = document.get("waivers")
    skew = freshness.get("clock_skew_minutes", 5)
    try:
        return Policy(
            repository=repository_uri(document["repository"]),
            matrix=document.get("matrix", "repro-gate.toml"),
            signers=_signers(file, "signers", document["signers"]),
            suites=tuple(required["suites"]),
            profiles=tuple(required["profiles"]),
            artifacts=tuple(required.get("artifacts", ())),
            minimum_tests=required.get("minimum_tests", 1),
            max_age=timedelta(days=freshness["max_age_days"]),
            clock_skew=timedelta(minutes=skew),
            waivers=None if waivers is None else _signers(file, "waivers", waivers),
            may_release_and_waive=bool(waivers and waivers.get("may_release_and_waive")),
        )
    except ValueError as error:
        raise InputInvalid.at(file, "", expected="a consistent policy", found=str(error)) from error


def _signers(file: Path, place: str, table: Mapping[str, Any]) -> Signers:
    keys = tuple(_keys(file, f"{place}.keys", table["keys"]))
    return Signers(keys=keys, threshold=table["threshold"])


def _keys(file: Path, place: str, tables: Sequence[Mapping[str, Any]]) -> Iterator[TrustedKey]:
    for index, table in enumerate(tables):
        here = f"{place}[{index}]"
        try:
            key = public_key_of(table["public_key"])
        except KeyInvalid as error:
            expected = "an Ed25519 public key, PEM or the base64 between its lines"
            where = f"{here}.public_key"
            raise InputInvalid.at(file, where, expected=expected, found=str(error)) from error
        yield TrustedKey(
            name=table["name"],
            key=key.raw,
            required=table.get("required", False),
            not_before=_day(file, f"{here}.not_before", table.get("not_before")),
            not_after=_day(file, f"{here}.not_after", table.get("not_after")),
        )


def _day(file: Path, place: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputInvalid.at(file, place, expected="a day of the calendar", found=text) from error
