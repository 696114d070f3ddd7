"""What is signed: the in-toto statement of a release and of a waiver, to and from JSON data.

The predicate of a release is in-toto's test-result v0.1 without extensions. What it lacks, such as
the time of the measurement, is in the annotations of a configuration entry. Reading ignores unknown
fields, as in-toto demands, except in a waiver, whose type is ours: there a field that we do not
know could be a limit of the permission.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeVar

from repro_gate.core.guards import require_name, require_sha256, require_text
from repro_gate.core.logprobs.report import LogprobCellReport
from repro_gate.core.logprobs.verdicts import Shifted
from repro_gate.core.report import CellReport
from repro_gate.core.text import digest_of
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.core.tokens.verdicts import Drift
from repro_gate.strict_json import (
    InvalidJson,
    choice,
    exact_table,
    list_of,
    table,
    text,
)

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
WAIVER: Final = "https://repro-gate.dev/waiver/v1"
DRIFT: Final = "drift"
"""The only verdict that can be waived."""
_HEX: Final[Mapping[str, tuple[int, ...]]] = {
    "sha256": (64,),
    "gitCommit": (40, 64),
    "gitTree": (40, 64),
    "gitBlob": (40, 64),
}
"""The digests that are verified, and how many hexadecimal digits each has."""
_STATEMENT_FIELDS: Final = ("_type", "subject", "predicateType", "predicate")
_DESCRIPTOR_FIELDS: Final = ("name", "uri", "digest", "annotations")
_TEST_LISTS: Final = {"passed": "passedTests", "warned": "warnedTests", "failed": "failedTests"}
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_+=,@()\[\]{}~-](?:[ .]?[A-Za-z0-9_+=,@()\[\]{}~-])*")
_MAX_FILE_NAME: Final = 255
_MAX_SHOWN: Final = 80
_LOWER_HEX: Final = re.compile(r"[0-9a-f]+")
_MIN_YEAR, _MAX_YEAR = 1970, 9999
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_ADDRESS: Final = re.compile(
    r"(?:git\+)?(?:(?:https|ssh)://(?:[^/@\s]*@)?|[A-Za-z0-9._-]+@(?=[^/]+:))"
    r"(?P<host>[A-Za-z0-9.-]+(?::[0-9]+(?=/))?)[:/]/?(?P<path>[A-Za-z0-9._~/@%+-]+)"
)
_REPOSITORY: Final = re.compile(r"git\+https://[A-Za-z0-9._~:/@%+-]+")

AnyCell: TypeAlias = CellReport | LogprobCellReport
Annotation: TypeAlias = Any
"""A string, an integer, or a list or an object of them: a float is not the same everywhere."""


class Kind(StrEnum):
    """What a configuration entry describes: the annotation `kind`, which decides how to verify."""

    MATRIX = "matrix"
    """The matrix file as committed."""
    GOLDENS = "goldens"
    """The folder of goldens as committed; its sha256 is `files_digest`."""
    BASELINES = "baselines"
    """The folder of baselines as committed."""
    PINS = "pins"
    """The pinned digests of models, `models.json`, as committed."""
    REPORT = "report"
    """A report.json in the evidence folder; also has the annotations `time` and `signedAt`."""
    WAIVER = "waiver"
    """A signed waiver in `waivers/` of the evidence folder."""


class Result(StrEnum):
    """The results of test-result v0.1."""

    PASSED = "PASSED"
    WARNED = "WARNED"
    """Waivers were used."""
    FAILED = "FAILED"
    """Never signed by repro-gate."""


def repository_uri(address: str) -> str:
    """Return the one form of a repository's address, `git+https://HOST/PATH`.

    Args:
        address: https, ssh or `git@HOST:PATH`, with `.git` or without.

    Raises:
        ValueError: it is none of these.
    """
    parts = _ADDRESS.fullmatch(address.strip())
    if parts is None:
        raise ValueError("a repository is an address such as https://HOST/PATH")
    path = parts["path"].removesuffix("/").removesuffix(".git")
    return f"git+https://{parts['host'].lower()}/{path}"


def is_file_name(name: str) -> bool:
    """Return whether a name can be that of an artifact, on every system and in one spelling.

    Such names are ASCII without a slash, a backslash, a colon or a dot at either end: letters that
    look alike, and paths, are no file names.
    """
    return len(name) <= _MAX_FILE_NAME and _FILE_NAME.fullmatch(name) is not None


def format_time(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, such as `2026-11-30T02:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(value: object, place: str = "") -> datetime:
    """Return the moment of a text like that of `format_time`; raises `InvalidJson`."""
    found = text(value, place)
    expected = "a time such as 2026-11-30T02:00:00Z"
    if not _TIME.fullmatch(found):
        raise InvalidJson(place, expected=expected, found="another string")
    try:
        moment = datetime.strptime(found, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidJson(place, expected=expected, found="no day of the calendar") from error
    if not is_comparable(moment):
        raise InvalidJson(place, expected=expected, found="a time of another age")
    return moment


def is_comparable(moment: datetime) -> bool:
    """Return whether days can be added to a moment, and subtracted."""
    return _MIN_YEAR < moment.year < _MAX_YEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A configuration entry: a ResourceDescriptor with a kind."""

    kind: Kind
    name: str
    """A path with slashes: in the repository, or in the evidence folder for reports and waivers."""
    digest: Mapping[str, str]
    """By algorithm, `sha256` always among them."""
    annotations: Mapping[str, Annotation] = field(default_factory=dict[str, Annotation])
    """Without the kind."""

    def __post_init__(self) -> None:
        require_text(name=self.name)
        _require_digests(self.digest)
        if "sha256" not in self.digest:
            raise ValueError("a configuration entry needs a sha256")

    def to_data(self) -> dict[str, Any]:
        """Return the ResourceDescriptor as JSON data."""
        return {
            "name": self.name,
            "digest": dict(self.digest),
            "annotations": {**self.annotations, "kind": self.kind.value},
        }

    @property
    def sha256(self) -> str:
        """The sha256 of the file or of the folder."""
        return self.digest["sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The statement of a release: a commit and artifacts, and the tests that they passed."""

    repository: str
    """`git+https://HOST/PATH`; a fork has the same commit ids."""
    commit: str
    artifacts: Mapping[str, str]
    """The sha256 of each artifact, by file name."""
    result: Result
    configuration: tuple[Entry, ...]
    passed: tuple[str, ...]
    """Names of tests, `SUITE/CELL-ID/PROFILE`; for log-probabilities `SUITE/CELL-ID/SOURCE`."""
    warned: tuple[str, ...] = ()
    """Those with drift that a waiver covers."""
    failed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise ValueError(f"a repository is git+https://HOST/PATH, got {self.repository!r}")
        _require_digests({"gitCommit": self.commit})
        for name, digest in self.artifacts.items():
            if not is_file_name(name):
                raise ValueError(f"an artifact needs a plain ASCII file name, got {name!r}")
            require_sha256(digest)
        _require_distinct("artifacts", self.artifacts)
        _require_distinct("configuration", (entry.name for entry in self.configuration))
        _require_distinct("tests", (*self.passed, *self.warned, *self.failed))

    def of_kind(self, kind: Kind) -> tuple[Entry, ...]:
        """Return the configuration entries of one kind."""
        return tuple(entry for entry in self.configuration if entry.kind is kind)

    def to_data(self) -> dict[str, Any]:
        """Return the statement as JSON data."""
        predicate = {
            "result": self.result.value,
            "configuration": [entry.to_data() for entry in self.configuration],
            **{key: list(getattr(self, name)) for name, key in _TEST_LISTS.items()},
        }
        return _statement(self.repository, self.commit, TEST_RESULT, predicate, self.artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """The statement that one known drift of one test at one commit may be released."""

    repository: str
    commit: str
    id: str
    test: str
    """The whole name of the test."""
    finding: str
    """The sha256 of what was found; see `finding_of`."""
    reason: str
    not_before: datetime
    not_after: datetime
    issue: str | None = None
    """Where it is discussed."""

    def __post_init__(self) -> None:
        require_name(self.id)
        require_text(test=self.test, reason=self.reason)
        require_sha256(self.finding)
        if self.not_after <= self.not_before:
            raise ValueError("a waiver must end after it begins")

    def to_data(self) -> dict[str, Any]:
        """Return the statement as JSON data."""
        predicate: dict[str, Any] = {
            "id": self.id,
            "test": self.test,
            "verdict": DRIFT,
            "finding": {"sha256": self.finding},
            "reason": self.reason,
            "notBefore": format_time(self.not_before),
            "notAfter": format_time(self.not_after),
        }
        if self.issue is not None:
            predicate["issue"] = self.issue
        return _statement(self.repository, self.commit, WAIVER, predicate)


def _statement(
    repository: str,
    commit: str,
    predicate_type: str,
    predicate: Mapping[str, Any],
    artifacts: Mapping[str, str] = {},
) -> dict[str, Any]:
    files = [{"name": name, "digest": {"sha256": digest}} for name, digest in artifacts.items()]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"uri": repository, "digest": {"gitCommit": commit}}, *files],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def finding_of(test: str, cell: AnyCell) -> str | None:
    """Return the sha256 of what was expected and what was observed, or None without drift.

    Another drift of the same cell has another one. So has, for log-probabilities, every repetition.
    """
    match cell:
        case CellReport(verdict=Drift(golden=golden), generation=Generation() as observed):
            seen: Any = [_generation(golden.generation), _generation(observed)]
        case LogprobCellReport(verdict=Shifted()):
            seen = [list(cell.calibration), list(cell.totals)]
        case _:
            return None
    return digest_of({"test": test, "seen": seen})


def statement_from(data: object) -> Statement:
    """Return the statement of a release; raises `InvalidJson` that names the place.

    Args:
        data: parsed from the bytes whose signatures were verified.
    """
    release, data = _parts(data, TEST_RESULT)
    predicate = _fields(data, "predicate", ("result", "configuration"), _TEST_LISTS.values())
    return _built(
        Statement,
        **release,
        result=Result(choice(predicate["result"], "predicate.result", list(Result))),
        configuration=tuple(list_of(_entry, predicate["configuration"], "predicate.configuration")),
        **{
            name: tuple(list_of(text, predicate.get(key, []), f"predicate.{key}"))
            for name, key in _TEST_LISTS.items()
        },
    )


def waiver_from(data: object) -> Waiver:
    """Return the statement of a waiver; raises `InvalidJson` that names the place."""
    release, data = _parts(data, WAIVER)
    keys = ("id", "test", "verdict", "finding", "reason", "notBefore", "notAfter")
    predicate = exact_table(data, "predicate", keys=keys, optional=("issue",))
    choice(predicate["verdict"], "predicate.verdict", (DRIFT,))
    finding = exact_table(predicate["finding"], "predicate.finding", keys=("sha256",))
    artifacts = release.pop("artifacts")
    if artifacts:
        found = f"{1 + len(artifacts)} subjects"
        raise InvalidJson("subject", expected="one commit", found=found)
    texts = ("id", "test", "reason", "issue")
    return _built(
        Waiver,
        **release,
        **{key: text(predicate[key], f"predicate.{key}") for key in texts if key in predicate},
        finding=text(finding["sha256"], "predicate.finding.sha256"),
        not_before=time_of(predicate["notBefore"], "predicate.notBefore"),
        not_after=time_of(predicate["notAfter"], "predicate.notAfter"),
    )


T = TypeVar("T", Statement, Waiver, Entry)


def _built(cls: type[T], /, **fields: Any) -> T:
    try:
        return cls(**fields)
    except ValueError as error:
        raise InvalidJson("", expected="a consistent statement", found=str(error)) from error


def _parts(data: object, predicate_type: str) -> tuple[dict[str, Any], object]:
    """Return what a statement of this type is about, by field of ours, and its predicate."""
    statement = _fields(data, "", _STATEMENT_FIELDS)
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", predicate_type)):
        found = text(statement[key], key)
        if found != expected:
            raise InvalidJson(key, expected=expected, found=ascii(found[:_MAX_SHOWN]))
    subjects = list_of(_subject, statement["subject"], "subject")
    commits = [(name, digest) for kind, name, digest in subjects if kind == "gitCommit"]
    if len(commits) != 1:
        raise InvalidJson("subject", expected="one commit", found=f"{len(commits)} commits")
    files = [(name, digest) for kind, name, digest in subjects if kind == "sha256"]
    artifacts = dict(files)
    if len(artifacts) < len(files):
        raise InvalidJson("subject", expected="each name once", found="one twice")
    ((repository, commit),) = commits
    release = {"repository": repository, "commit": commit, "artifacts": artifacts}
    return release, statement["predicate"]


def _fields(
    data: object, place: str, needed: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Return an object without a field that another reader takes for one that we know.

    Go ignores the case of names, and protobuf also reads `failed_tests`.
    """
    found = table(data, place)
    spellings = {_folded(name): name for name in (*needed, *optional)}
    for name in found:
        expected = spellings.get(_folded(name), name)
        if name != expected:
            shown = ascii(name[:_MAX_SHOWN])
            raise InvalidJson(place, expected=f"the field {expected!r} so spelt", found=shown)
    for name in needed:
        if name not in found:
            raise InvalidJson(place, expected=f"the field {name!r}", found="none")
    return found


def _folded(name: str) -> str:
    return name.replace("_", "").casefold()


def _subject(data: object) -> tuple[str, str, str]:
    """Return the kind of digest of a subject, its address or name, and the digest."""
    found = _descriptor(data)
    digest = found["digest"]
    if "gitCommit" in digest:
        return "gitCommit", text(found.get("uri"), ".uri"), digest["gitCommit"]
    if digest.keys() != {"sha256"}:
        raise InvalidJson(".digest", expected="a sha256", found=", ".join(digest))
    return "sha256", text(found.get("name"), ".name"), digest["sha256"]


def _entry(data: object) -> Entry:
    found = _descriptor(data)
    annotations = dict(table(found.get("annotations"), ".annotations"))
    kind = Kind(choice(annotations.pop("kind", None), ".annotations.kind", list(Kind)))
    name = text(found.get("name"), ".name")
    return _built(Entry, kind=kind, name=name, digest=found["digest"], annotations=annotations)


def _descriptor(data: object) -> dict[str, Any]:
    """Return a ResourceDescriptor with the digests that we verify, which are at least one."""
    found = _fields(data, "", (), _DESCRIPTOR_FIELDS)
    digests = {
        name: text(value, f".digest.{name}")
        for name, value in table(found.get("digest"), ".digest").items()
        if name in _HEX
    }
    if not digests:
        expected = f"one of {', '.join(_HEX)}"
        raise InvalidJson(".digest", expected=expected, found="none of them")
    try:
        _require_digests(digests)
    except ValueError as error:
        raise InvalidJson(".digest", expected="a digest", found=str(error)) from error
    return {**found, "digest": digests}


def _require_digests(digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        lengths = _HEX.get(name, ())
        if len(digest) not in lengths or not _LOWER_HEX.fullmatch(digest):
            many = " or ".join(map(str, lengths))
            raise ValueError(f"{name} must be {many} lower-case hexadecimal digits")


def _require_distinct(what: str, names: Iterable[str]) -> None:
    """Raise ValueError for two names that some file system or reader takes for one."""
    for folded, count in Counter(name.casefold() for name in names).items():
        if count > 1:
            raise ValueError(f"{what} must differ in more than case, got {folded!r} {count} times")


def _generation(generation: Generation) -> list[Any]:
    return [
        [_token(token) for token in generation.prompt],
        [_token(token) for token in generation.tokens],
        generation.stop.value,
        *([] if generation.rendered is None else [generation.rendered]),
    ]


def _token(token: Token) -> list[Any]:
    return [token.id, None if token.data is None else token.data.hex()]
