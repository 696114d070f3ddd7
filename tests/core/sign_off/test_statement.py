"""The statements of a release and of a waiver, to JSON data and back."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro_gate.core.sign_off.statement import (
    Entry,
    Kind,
    Result,
    Statement,
    Waiver,
    format_time,
    is_file_name,
    statement_from,
    time_of,
    waiver_from,
)
from repro_gate.strict_json import InvalidJson

SHA = "ab" * 32
COMMIT = "c0" * 20
STATEMENT = Statement(
    repository="git+https://github.com/acme/model",
    commit=COMMIT,
    artifacts={"model.gguf": SHA, "model (small).gguf": SHA},
    result=Result.WARNED,
    configuration=(
        Entry(kind=Kind.MATRIX, name="repro-gate.toml", digest={"sha256": SHA}),
        Entry(
            kind=Kind.GOLDENS,
            name="snapshots/goldens",
            digest={"sha256": SHA, "gitTree": COMMIT},
            annotations={"files": 30},
        ),
    ),
    passed=("quick/tiny--haiku--seed42/cpu",),
    warned=("quick/tiny--haiku--seed43/cpu",),
)
WAIVER = Waiver(
    repository="git+https://github.com/acme/model",
    commit=COMMIT,
    id="w-2026-011",
    test="quick/tiny--haiku--seed43/cpu",
    finding=SHA,
    reason="a tokenizer fix",
    not_before=datetime(2026, 11, 29, tzinfo=UTC),
    not_after=datetime(2026, 12, 13, tzinfo=UTC),
    issue="https://github.com/acme/model/issues/482",
)
Change = Callable[[Any], object]


def changed(value: Statement | Waiver, change: Change) -> Any:
    """Return the data of a statement after a change."""
    data = deepcopy(value.to_data())
    change(data)
    return data


@pytest.mark.parametrize(
    "statement", [STATEMENT, replace(STATEMENT, artifacts={}, configuration=())]
)
def test_a_statement_is_read_as_it_was_written(statement: Statement) -> None:
    """Through JSON."""
    assert statement_from(json.loads(json.dumps(statement.to_data()))) == statement


@pytest.mark.parametrize("waiver", [WAIVER, replace(WAIVER, issue=None)])
def test_a_waiver_is_read_as_it_was_written(waiver: Waiver) -> None:
    """Through JSON."""
    assert waiver_from(json.loads(json.dumps(waiver.to_data()))) == waiver


def test_unknown_fields_and_digests_are_ignored() -> None:
    """As in-toto demands: in every object, and algorithms that we do not verify."""

    def change(data: Any) -> None:
        data["x"] = 1
        data["predicate"]["x"] = 1
        data["subject"][1]["x"] = 1
        data["subject"][1]["digest"]["sha512"] = "unverified"
        data["predicate"]["configuration"][0]["x"] = 1

    assert statement_from(changed(STATEMENT, change)) == STATEMENT


def test_lists_of_tests_may_be_missing() -> None:
    """They are optional in test-result."""

    def change(data: Any) -> None:
        for key in ("passedTests", "warnedTests", "failedTests"):
            del data["predicate"][key]

    assert statement_from(changed(STATEMENT, change)) == replace(STATEMENT, passed=(), warned=())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda data: data.update(_type="https://in-toto.io/Statement/v0.1"),
            "_type: expected https://in-toto.io/Statement/v1, found "
            "'https://in-toto.io/Statement/v0.1'",
            id="older-statement",
        ),
        pytest.param(
            lambda data: data.update(predicateType="https://slsa.dev/provenance/v1"),
            "predicateType: expected https://in-toto.io/attestation/test-result/v0.1, found "
            "'https://slsa.dev/provenance/v1'",
            id="another-predicate",
        ),
        pytest.param(
            lambda data: data.pop("_type"),
            "expected the field '_type', found none",
            id="no-type",
        ),
        pytest.param(
            lambda data: data.pop("predicate"),
            "expected the field 'predicate', found none",
            id="no-predicate",
        ),
        pytest.param(
            lambda data: data.update(subject=[]),
            "subject: expected one commit, found 0 commits",
            id="no-subject",
        ),
        pytest.param(
            lambda data: data["subject"].append(data["subject"][0]),
            "subject: expected one commit, found 2 commits",
            id="two-commits",
        ),
        pytest.param(
            lambda data: data["subject"][1].update(digest={}),
            "subject[1].digest: expected one of sha256, gitCommit, gitTree, gitBlob, found none",
            id="no-digest",
        ),
        pytest.param(
            lambda data: data["subject"][1].update(digest={"sha1": "ab"}),
            "subject[1].digest: expected one of sha256",
            id="another-digest",
        ),
        pytest.param(
            lambda data: data["subject"][1].update(digest={"gitBlob": COMMIT}),
            "subject[1].digest: expected a sha256, found gitBlob",
            id="artifact-without-sha256",
        ),
        pytest.param(
            lambda data: data["subject"][0]["digest"].update(gitCommit=COMMIT.upper()),
            "gitCommit must be 40 or 64 lower-case hexadecimal digits",
            id="commit-in-capitals",
        ),
        pytest.param(
            lambda data: data["subject"][0]["digest"].update(gitCommit=COMMIT[:12]),
            "gitCommit must be 40 or 64 lower-case hexadecimal digits",
            id="short-commit",
        ),
        pytest.param(
            lambda data: data["subject"][0].pop("uri"),
            "subject[0].uri: expected a string, found nothing",
            id="no-repository",
        ),
        pytest.param(
            lambda data: data["subject"][0].update(uri="https://github.com/acme/model"),
            "a repository is git+https://HOST/PATH",
            id="another-uri",
        ),
        pytest.param(
            lambda data: data["subject"].append(data["subject"][1]),
            "subject: expected each name once, found one twice",
            id="one-artifact-twice",
        ),
        pytest.param(
            lambda data: data["subject"][2].update(name="MODEL.gguf"),
            "artifacts must differ in more than case",
            id="names-that-differ-in-case",
        ),
        *(
            pytest.param(
                lambda data, name=name: data["subject"][1].update(name=name),
                "an artifact needs a plain ASCII file name",
                id=f"named-{name!a}",
            )
            for name in ("../x", "/etc/passwd", "a/b", "C:\\x", "C:x", "a\0b", ".x", "x.", "", "..")
        ),
        pytest.param(
            lambda data: data["subject"][1].update(name="mod\u00e8le.gguf"),
            "an artifact needs a plain ASCII file name",
            id="NFC",
        ),
        pytest.param(
            lambda data: data["subject"][1].update(name="mode\u0300le.gguf"),
            "an artifact needs a plain ASCII file name",
            id="NFD",
        ),
        pytest.param(
            lambda data: data["predicate"].pop("result"),
            "predicate: expected the field 'result'",
            id="no-result",
        ),
        pytest.param(
            lambda data: data["predicate"].update(result="passed"),
            "predicate.result: expected one of PASSED, WARNED, FAILED, found another string",
            id="another-result",
        ),
        pytest.param(
            lambda data: data["predicate"].pop("configuration"),
            "predicate: expected the field 'configuration'",
            id="no-configuration",
        ),
        pytest.param(
            lambda data: data["predicate"]["configuration"][0]["annotations"].pop("kind"),
            "predicate.configuration[0].annotations.kind: expected one of matrix, goldens",
            id="no-kind",
        ),
        pytest.param(
            lambda data: data["predicate"]["configuration"][0]["annotations"].update(kind="new"),
            "predicate.configuration[0].annotations.kind: expected one of matrix, goldens",
            id="a-kind-that-we-cannot-verify",
        ),
        pytest.param(
            lambda data: data["predicate"]["configuration"][1]["digest"].pop("sha256"),
            "predicate.configuration[1]: expected a consistent statement, found a configuration "
            "entry needs a sha256",
            id="only-a-git-tree",
        ),
        pytest.param(
            lambda data: data["predicate"]["configuration"][0].update(name="Snapshots/GOLDENS"),
            "configuration must differ in more than case",
            id="entries-that-differ-in-case",
        ),
        pytest.param(
            lambda data: data["predicate"]["passedTests"].append("quick/tiny--haiku--seed42/cpu"),
            "tests must differ in more than case",
            id="a-test-twice",
        ),
        pytest.param(
            lambda data: data["predicate"]["passedTests"].append("quick/tiny--haiku--seed43/cpu"),
            "tests must differ in more than case",
            id="a-test-in-two-lists",
        ),
        pytest.param(
            lambda data: data["predicate"].update(passedTests=[1]),
            "predicate.passedTests[0]: expected a string, found 1",
            id="a-test-without-name",
        ),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(
    change: Change, message: str
) -> None:
    """The message names the place in the statement."""
    with pytest.raises(InvalidJson) as refused:
        statement_from(changed(STATEMENT, change))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda data: data.update(predicateType="https://repro-gate.dev/waiver/v2"),
            "predicateType: expected https://repro-gate.dev/waiver/v1",
            id="another-version",
        ),
        pytest.param(
            lambda data: data["predicate"].update(onlyOn="gpu"),
            "predicate: expected only the keys",
            id="a-limit-that-we-do-not-know",
        ),
        pytest.param(
            lambda data: data["predicate"].update(verdict="nondeterministic"),
            "predicate.verdict: expected one of drift, found another string",
            id="another-verdict",
        ),
        pytest.param(
            lambda data: data["predicate"].update(finding={"sha256": "x"}),
            "a sha256 must be 64",
            id="no-finding",
        ),
        pytest.param(
            lambda data: data["predicate"].update(notAfter="2026-11-29T00:00:00Z"),
            "a waiver must end after it begins",
            id="empty-time",
        ),
        pytest.param(
            lambda data: data["predicate"].update(reason=""),
            "reason must not be empty",
            id="no-reason",
        ),
        pytest.param(
            lambda data: data["predicate"].pop("notAfter"),
            "predicate: expected the key 'notAfter', found none",
            id="no-end",
        ),
        pytest.param(
            lambda data: data["subject"].append({"name": "x", "digest": {"sha256": SHA}}),
            "subject: expected one commit, found 2 subjects",
            id="more-than-a-commit",
        ),
    ],
)
def test_a_waiver_that_allows_more_than_it_says_is_refused(change: Change, message: str) -> None:
    """Every field of it is a limit."""
    with pytest.raises(InvalidJson) as refused:
        waiver_from(changed(WAIVER, change))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("place", "name", "known"),
    [
        ("predicate", "FailedTests", "failedTests"),
        ("predicate", "failed_tests", "failedTests"),
        ("predicate", "Result", "result"),
        ("", "predicate_type", "predicateType"),
        ("", "Subject", "subject"),
        ("subject[1]", "Digest", "digest"),
        ("predicate.configuration[0]", "Annotations", "annotations"),
    ],
)
def test_a_field_that_other_readers_take_for_ours_is_refused(
    place: str, name: str, known: str
) -> None:
    """Go reads names without regard to case, and protobuf those with underscores too."""
    data = STATEMENT.to_data()
    objects = {
        "": data,
        "predicate": data["predicate"],
        "subject[1]": data["subject"][1],
        "predicate.configuration[0]": data["predicate"]["configuration"][0],
    }
    objects[place][name] = ["x"]

    with pytest.raises(InvalidJson) as refused:
        statement_from(data)
    where = f"{place}: " if place else ""
    assert str(refused.value) == f"{where}expected the field '{known}' so spelt, found '{name}'"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(data=st.data(), of=st.sampled_from([STATEMENT, WAIVER]))
def test_any_other_value_anywhere_is_read_or_refused(
    data: st.DataObject, of: Statement | Waiver
) -> None:
    """Never a crash; and what is read can be written again."""
    document: Any = of.to_data()
    place = document
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key: Any = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    try:
        found = statement_from(document) if isinstance(of, Statement) else waiver_from(document)
    except InvalidJson:
        return
    read: Callable[[object], Statement | Waiver] = (
        statement_from if isinstance(found, Statement) else waiver_from
    )
    assert read(found.to_data()) == found


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_is_one_of_this_age(text: str) -> None:
    """To which days can be added."""
    with pytest.raises(InvalidJson, match="found a time of another age"):
        time_of(text)


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-11-30T24:00:00Z"])
def test_a_time_is_one_of_the_calendar(text: str) -> None:
    """Which is more than its form."""
    with pytest.raises(InvalidJson, match="found no day of the calendar"):
        time_of(text)


@pytest.mark.parametrize(
    "text",
    ["2026-11-30 02:00:00Z", "2026-11-30T02:00:00+00:00", "2026-11-30T02:00:00.5Z", "1764468000"],
)
def test_a_time_has_one_form(text: str) -> None:
    """UTC, to the second."""
    with pytest.raises(InvalidJson, match="expected a time such as 2026-11-30T02:00:00Z"):
        time_of(text)


def test_times_are_written_in_utc() -> None:
    """Whatever their time zone."""
    moment = datetime(2026, 11, 30, 4, tzinfo=timezone(timedelta(hours=2)))

    assert format_time(moment) == "2026-11-30T02:00:00Z"
    assert time_of(format_time(moment)) == moment


@pytest.mark.parametrize(
    "name", ["model.gguf", "repro_gate-1.0-py3-none-any.whl", "a b (1).tar.gz", "x", "A+b=c@d~1"]
)
def test_file_names_of_releases_are_accepted(name: str) -> None:
    """With spaces and brackets."""
    assert is_file_name(name)


@pytest.mark.parametrize("name", ["a" * 256, "a  b", "a..b", "CON ", " a", "a|b", "a\nb", "x\n"])
def test_other_file_names_are_refused(name: str) -> None:
    """Those that some system changes or refuses."""
    assert not is_file_name(name)
