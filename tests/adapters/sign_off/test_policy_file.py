"""The recipient's policy file: what is read, and what is refused as no policy."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from repro_gate.adapters.sign_off.policy import read_policy
from repro_gate.core.sign_off.policy import Policy, Signers, TrustedKey
from repro_gate.errors import InputInvalid
from tests.fakes.signing import key_of

ALICE, BOB, CAROL = (key_of(name).public for name in ("alice", "bob", "carol"))
PEM = f"-----BEGIN PUBLIC KEY-----\n{ALICE.text}\n-----END PUBLIC KEY-----\n"
WEAK = "MCowBQYDK2VwAyEA" + "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
SMALL = f"""
schema = "repro-gate/policy/v1"
repository = "git@github.com:acme/model.git"
[signers]
threshold = 1
[[signers.keys]]
name = "alice"
public_key = "{ALICE.text}"
[required]
suites = ["quick"]
profiles = ["cpu"]
[freshness]
max_age_days = 14
"""
LARGE = f"""
schema = "repro-gate/policy/v1"
repository = "https://github.com/acme/model"
matrix = "gate/matrix.toml"
[signers]
threshold = 2
[[signers.keys]]
name = "alice"
public_key = '''
# until the summer
{PEM}'''
required = true
not_before = "2026-01-01"
not_after = "2026-06-30"
[[signers.keys]]
name = "bob"
public_key = "{BOB.text}"
[required]
suites = ["quick", "hosted"]
profiles = ["cpu", "gpu"]
artifacts = ["*.gguf"]
minimum_tests = 30
[freshness]
max_age_days = 7
clock_skew_minutes = 0
[waivers]
threshold = 1
may_release_and_waive = true
[[waivers.keys]]
name = "carol"
public_key = "{CAROL.text}"
"""


def policy_in(folder: Path, text: str) -> Policy:
    """Return the policy of a text."""
    file = folder / "policy.toml"
    file.write_text(text, "utf-8")
    return read_policy(file)


def test_a_small_policy_has_strict_defaults(tmp_path: Path) -> None:
    """No waivers, five minutes, and at least one test."""
    assert policy_in(tmp_path, SMALL) == Policy(
        repository="git+https://github.com/acme/model",
        signers=Signers(keys=(TrustedKey(name="alice", key=ALICE.raw),), threshold=1),
        suites=("quick",),
        profiles=("cpu",),
        max_age=timedelta(days=14),
        matrix="repro-gate.toml",
        artifacts=(),
        minimum_tests=1,
        clock_skew=timedelta(minutes=5),
        waivers=None,
        may_release_and_waive=False,
    )


def test_a_large_policy_is_read(tmp_path: Path) -> None:
    """With everything."""
    alice = TrustedKey(
        name="alice",
        key=ALICE.raw,
        required=True,
        not_before=date(2026, 1, 1),
        not_after=date(2026, 6, 30),
    )
    assert policy_in(tmp_path, LARGE) == Policy(
        repository="git+https://github.com/acme/model",
        signers=Signers(keys=(alice, TrustedKey(name="bob", key=BOB.raw)), threshold=2),
        suites=("quick", "hosted"),
        profiles=("cpu", "gpu"),
        max_age=timedelta(days=7),
        matrix="gate/matrix.toml",
        artifacts=("*.gguf",),
        minimum_tests=30,
        clock_skew=timedelta(),
        waivers=Signers(keys=(TrustedKey(name="carol", key=CAROL.raw),), threshold=1),
        may_release_and_waive=True,
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("max_age_days = 14", "", "the key 'max_age_days'", id="no-age"),
        pytest.param('suites = ["quick"]', "suites = []", "required.suites", id="no-suites"),
        pytest.param("[required]", "[Required]", "'required'", id="another-name"),
        pytest.param("threshold = 1", "threshold = 1\nTreshold = 2", "Treshold", id="unknown"),
        pytest.param("[signers]", "[other]\n[signers]", "other", id="an-unknown-table"),
        pytest.param("/v1", "/v2", "schema", id="another-version"),
        pytest.param("git@github.com:acme/model.git", "model", "a repository is", id="no-address"),
        *(
            pytest.param("threshold = 1", f"threshold = {value}", "threshold", id=f"={value}")
            for value in ("0", "-1", "2", "true", '"2"', "1.0", "1.5", "17", "nan", "[]")
        ),
        pytest.param("threshold = 1", "", "the key 'threshold'", id="no-threshold"),
        pytest.param(ALICE.text, "", "signers.keys[0].public_key", id="an-empty-key"),
        pytest.param(ALICE.text, WEAK, "a weak key (of small order)", id="a-weak-key"),
        pytest.param(
            ALICE.text, ALICE.raw.hex(), "signers.keys[0].public_key: expected", id="hexadecimal"
        ),
        pytest.param('name = "alice"', 'name = "Alice"', "signers.keys[0].name", id="a-name"),
        pytest.param(
            "[required]",
            f"[[signers.keys]]\nname = \"bob\"\npublic_key = '''# bob\n{PEM}'''\n[required]",
            "'alice' and 'bob' are the same key",
            id="one-key-under-two-names",
        ),
        pytest.param(
            "[required]",
            '[[signers.keys]]\nname = "bob"\npublic_key = "'
            + PEM.replace("\n", "\\r\\n")
            + '"\n[required]',
            "'alice' and 'bob' are the same key",
            id="one-key-with-other-line-ends",
        ),
        pytest.param(
            "[required]",
            f'[[signers.keys]]\nname = "alice"\npublic_key = "{BOB.text}"\n[required]',
            "the name 'alice' is there 2 times",
            id="two-keys-of-one-name",
        ),
        pytest.param(
            "[required]",
            f'[waivers]\nthreshold = 1\n[[waivers.keys]]\nname = "w"\npublic_key = "{ALICE.text}"'
            "\n[required]",
            "the key 'alice' may both release and waive",
            id="one-key-for-both",
        ),
        pytest.param(
            'name = "alice"',
            'name = "alice"\nnot_after = "2026-02-30"',
            "signers.keys[0].not_after: expected a day of the calendar, found 2026-02-30",
            id="no-day",
        ),
        pytest.param(
            'name = "alice"',
            'name = "alice"\nnot_after = 2026-02-20',
            "signers.keys[0].not_after",
            id="a-day-without-quotes",
        ),
        pytest.param(
            'name = "alice"',
            'name = "alice"\nnot_before = "2026-02-02"\nnot_after = "2026-02-01"',
            "the key 'alice' ends before it begins",
            id="days-exchanged",
        ),
    ],
)
def test_nonsense_is_no_policy(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The message names the file and the place."""
    assert old in SMALL
    with pytest.raises(InputInvalid) as refused:
        policy_in(tmp_path, SMALL.replace(old, new, 1))

    assert str(refused.value).startswith(f"{tmp_path / 'policy.toml'}: ")
    assert message in str(refused.value)


def test_no_key_is_quoted(tmp_path: Path) -> None:
    """It may be a private one, pasted by mistake."""
    secret = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIDq\\n-----END PRIVATE KEY-----"  # noqa: S105 -- none

    with pytest.raises(InputInvalid, match="a PEM block of kind PRIVATE KEY") as refused:
        policy_in(tmp_path, SMALL.replace(ALICE.text, secret))
    assert "MC4" not in str(refused.value)
