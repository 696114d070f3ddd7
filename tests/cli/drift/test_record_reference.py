"""`repro-gate record-reference`."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workspaces import PROFILE, Workspace, contents_of, ended, matrix_of

FOX = "tiny--fox--seed1"
_VARIANTS = {"two": {"settings": {"missed": 2}}, "still": {"settings": {"depth": 1}}}


@pytest.fixture
def varied(recorded: Workspace) -> Workspace:
    """Return a workspace with goldens and two variants, whose engine verifies tokens."""
    recorded.write_matrix(variants=_VARIANTS)
    recorded.write_script(verifies=True)
    return recorded


def reference_in(workspace: Workspace, variant: str, *, profile: str = PROFILE) -> Any:
    """Return a committed reference."""
    file = workspace.snapshots / "references" / profile / f"{variant}.json"
    return json.loads(file.read_text("utf-8"))


def test_variants_are_recorded(varied: Workspace) -> None:
    """With the distance of each token of each golden, which are shown first."""
    ran = varied.run("record-reference", "--yes")

    assert ran.code == 0, ran.err
    found = reference_in(varied, "two")
    assert found["change"] == {"setting.missed": "2"}
    assert found["cells"][FOX]["distances"] == [0.1, 0.1, 0.0, 0.0]
    assert [line.split() for line in ran.out.splitlines()[:3]] == [
        ["cells", "explained", "distance", "KL,", "nats"],
        ["new", "two", "tiny", "4", "50", "%", "0.0500", "0.0000"],
        ["new", "still", "tiny", "4", "100", "%", "0.0000", "0.0000"],
    ]
    assert "nothing moved" in ran.out.partition("still: ")[2]
    assert "2 new; 0 unchanged, 0 refused\n" in ran.out


def test_the_same_again_is_not_written(varied: Workspace) -> None:
    """No file changes, and nobody is asked."""
    assert varied.run("record-reference", "--yes").code == 0
    before = contents_of(varied.snapshots)

    ran = varied.run("record-reference")

    assert ran.code == 0
    assert "nothing to record; 2 unchanged, 0 refused\n" in ran.out
    assert contents_of(varied.snapshots) == before


def test_a_part_keeps_the_rest(varied: Workspace) -> None:
    """Of the same variant; of another by the same name nothing stays."""
    assert varied.run("record-reference", "--yes", "--variant", "two", "--only", "*fox*").code == 0
    assert varied.run("record-reference", "--yes", "--variant", "two", "--only", "*hai*").code == 0
    assert len(reference_in(varied, "two")["cells"]) == 4

    varied.write_matrix(variants={"two": {"settings": {"missed": 1}}})
    ran = varied.run("record-reference", "--yes", "--only", "*fox*")

    assert "1 updated; 0 unchanged" in ran.out
    assert len(reference_in(varied, "two")["cells"]) == 2


def test_without_an_answer_nothing_is_written(varied: Workspace) -> None:
    """As for goldens."""
    ran = varied.run("record-reference")

    assert ran.code == 2
    assert "stdin is not a terminal" in ran.err
    assert not (varied.snapshots / "references").exists()


def test_a_broken_reference_is_repaired(varied: Workspace) -> None:
    """Recording is what repairs it."""
    file = varied.snapshots / "references" / PROFILE / "two.json"
    file.parent.mkdir(parents=True)
    file.write_text("{", "utf-8")

    ran = varied.run("record-reference", "--yes", "--variant", "two", "--variant", "two")

    assert ran.code == 0
    assert "1 repaired; 0 unchanged" in ran.out
    assert len(reference_in(varied, "two")["cells"]) == 4


def test_another_machine_is_recorded_under_its_name(varied: Workspace) -> None:
    """Against the goldens of the first one, with the settings of the matrix."""
    varied.write_script(verifies=True, profile="gpu-other", facts={"device.name": "OTHER"})

    ran = varied.run("record-reference", "--yes", "--as", "other", "--profile", PROFILE)

    assert ran.code == 0, ran.err
    found = reference_in(varied, "other")
    assert (found["measured_on"], found["change"]) == ("gpu-other", {})
    assert found["provenance"] == {"device.name": "OTHER"}
    assert f"other: {PROFILE}, measured on gpu-other\n" in ran.out


@pytest.mark.parametrize("fact", ["device.name", "setting.kv_type"])
def test_a_machine_with_other_settings_is_pointed_out(varied: Workspace, fact: str) -> None:
    """They would count as harmless, though no variant names them."""
    varied.write_script(verifies=True, facts={fact: "q4_0"})

    ran = varied.run("record-reference", "--yes", "--as", "other")

    assert ran.code == 0, ran.err
    is_shown = "settings are not those of the goldens: this calls them harmless too" in ran.out
    assert is_shown == (fact == "setting.kv_type")


def test_a_suite_against_a_profile_has_its_goldens(varied: Workspace) -> None:
    """And names the option that is missing on the other machine."""
    suite = matrix_of(varied.engine())["suites"]["quick"]
    suites = {"quick": {**suite, "kind": "reference", "against": PROFILE}}
    varied.write_matrix(variants=_VARIANTS, suites=suites)
    varied.write_script(verifies=True, profile="gpu-other")

    refused = varied.run("record-reference", "--yes")
    ran = varied.run("record-reference", "--yes", "--as", "other")

    assert refused.code == 2
    assert f"against {PROFILE}, and this machine is gpu-other: give --as NAME" in refused.err
    assert ran.code == 0, ran.err
    assert reference_in(varied, "other")["measured_on"] == "gpu-other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variant", "three"), "there is no variant 'three' in the matrix; it has: two, still"),
        (("--profile", "other"), "--profile needs --as NAME"),
        (("--as", "new", "--variant", "two"), "--as and --variant exclude each other"),
        (("--as", "two"), "that no variant of the matrix has, not 'two'"),
        (("--as", "No!"), "--as is a name of lower-case letters and digits"),
    ],
)
def test_options_that_contradict_the_matrix(
    varied: Workspace, options: tuple[str, ...], message: str
) -> None:
    """Exit code 2, before an engine starts."""
    ran = varied.run("record-reference", "--yes", *options)

    assert ran.code == 2
    assert message in ran.err
    assert varied.asked("start") == []


def test_a_matrix_without_variants_records_machines_only(recorded: Workspace) -> None:
    """The message has both ways."""
    ran = recorded.run("record-reference", "--yes")

    assert ran.code == 2
    assert "add [variants.NAME], or give --as NAME" in ran.err


def test_a_variant_that_its_engine_refuses_is_an_invalid_matrix(varied: Workspace) -> None:
    """A setting that the built-in engine does not know would be recorded as no change."""
    settings = {"n_ctx": 256, "n_batch": 256, "threads": 1, "flash_attention": False}
    engine = {"kind": "llama_cpp", "settings": {**settings, "kv_type": "f32"}}
    varied.write_matrix(
        engines={"scripted": engine}, variants={"small": {"settings": {"n_bacth": 2}}}
    )

    ran = varied.run("record-reference", "--yes")

    assert ran.code == 3
    assert "repro-gate.toml: variants.small.settings: expected only the keys" in ran.err
    assert ran.err.endswith("found the unknown key 'n_bacth'\n")


def test_ci_records_nothing(varied: Workspace) -> None:
    """Nobody would review it."""
    ran = varied.run("record-reference", "--yes", CI="true")

    assert ran.code == 2
    assert "references are not updated in CI" in ran.err


def test_cells_without_a_golden_are_named(varied: Workspace) -> None:
    """And those whose golden is of another definition; the others are recorded."""
    varied.golden(FOX).unlink()
    prompts = {
        "haiku": {"text": "Say haiku", "temperature": 0.8, "max_tokens": 4},
        "fox": {"text": "Say fox", "temperature": 0.7, "max_tokens": 4},
    }
    varied.write_matrix(variants=_VARIANTS, prompts_table=prompts)

    ran = varied.run("record-reference", "--yes", "--variant", "two")

    assert ran.code == 4
    assert f"refused    {FOX}: there is no golden for the profile {PROFILE}\n" in ran.out
    assert "refused    2 cells: the golden is for another definition of the cell\n" in ran.out
    assert "Wrote snapshots, except for the 3 cells refused" in ran.out


def test_a_changed_engine_is_no_base(varied: Workspace) -> None:
    """Its distances would contain those of an unknown cause."""
    varied.write_matrix(
        variants=_VARIANTS, engines={"scripted": {**varied.engine(), "settings": {"missed": 3}}}
    )

    ran = varied.run("record-reference", "--yes")

    assert ran.code == 4
    assert (
        "refused    4 cells: the unchanged engine no longer generates 3 of its 4 tokens" in ran.out
    )
    assert not (varied.snapshots / "references").exists()


def test_an_engine_without_verify_is_refused(varied: Workspace) -> None:
    """It has no distances."""
    refusal = {"error": {"kind": "bad_request", "message": "no verify"}}["error"]
    varied.write_script({"method": "verify", "refuse": refusal})

    ran = varied.run("record-reference", "--yes")

    assert ran.code == 4
    assert "refused    4 cells: bad_request: no verify\n" in ran.out


def test_a_variant_that_a_model_has_already_is_left_out(varied: Workspace) -> None:
    """And named."""
    engines = {
        "scripted": varied.engine(),
        "other": {**varied.engine(), "settings": {"missed": 2}},
    }
    models = {
        "tiny": {"engine": "scripted", "source": "tiny.gguf"},
        "twin": {"engine": "other", "source": "tiny.gguf"},
    }
    suites = {"quick": {"runs": 2, "seeds": [1, 2], "prompts": {"tiny": ["fox"], "twin": ["fox"]}}}
    varied.write_matrix(variants=_VARIANTS, engines=engines, models=models, suites=suites)

    ran = varied.run("record-reference", "--yes", "--variant", "two")

    assert "note       two changes nothing for twin: left out\n" in ran.out


def test_a_folder_that_is_a_link_is_not_written_into(varied: Workspace, tmp_path: Path) -> None:
    """It would lead elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (varied.snapshots / "references").symlink_to(elsewhere)

    ran = varied.run("record-reference", "--yes")

    assert ran.code == 3
    assert "expected a folder to write into, found a symbolic link" in ran.err
    assert list(elsewhere.iterdir()) == []


def _with_another_fox(workspace: Workspace) -> None:
    """Have the engine generate other tokens for one cell."""
    changed = {"tokens": [[7, b" 7".hex()], [8, b" 8".hex()]]}
    fox = {"method": "generate", "prompt": "Say fox", "seed": 1, "result": changed}
    workspace.write_script(fox, verifies=True)


def test_new_goldens_make_references_stale(varied: Workspace) -> None:
    """The update and the doctor name them, with the command that records them again."""
    assert varied.run("record-reference", "--yes", "--variant", "two").code == 0
    assert "    reference two: 4 cells\n" in varied.run("doctor").out
    _with_another_fox(varied)

    ran = varied.record()

    again = "repro-gate record-reference --variant two"
    assert f"reference  {PROFILE}/two is stale for 1 cell: {again}\n" in ran.out
    assert f"    reference two: stale for 1 cell: {again}\n" in varied.run("doctor").out
    assert varied.run(*again.split()[1:], "--yes").code == 0
    assert "    reference two: 4 cells\n" in varied.run("doctor").out


def test_a_stale_reference_of_a_machine_names_the_machine(varied: Workspace) -> None:
    """It cannot be recorded here."""
    varied.write_script(verifies=True, profile="gpu-other")
    assert varied.run("record-reference", "--yes", "--as", "h", "--profile", PROFILE).code == 0
    _with_another_fox(varied)

    ran = varied.record()

    again = f"repro-gate record-reference --as h --profile {PROFILE}, on gpu-other"
    assert f"reference  {PROFILE}/h is stale for 1 cell: {again}\n" in ran.out


def test_the_doctor_names_references_without_a_variant(varied: Workspace) -> None:
    """They no longer count, as the matrix no longer calls the change harmless."""
    assert varied.run("record-reference", "--yes").code == 0
    varied.write_matrix(variants={"two": {"settings": {"missed": 1}}})

    ran = varied.run("doctor")

    for name in ("still", "two"):
        assert f"    reference {name}: of no variant as the matrix has it, so unused\n" in ran.out


def test_a_broken_reference_stops_neither_doctor_nor_update(varied: Workspace) -> None:
    """Both name the file."""
    file = varied.snapshots / "references" / PROFILE / "two.json"
    file.parent.mkdir(parents=True)
    file.write_text("{", "utf-8")
    _with_another_fox(varied)

    doctor, update = varied.run("doctor"), varied.record()

    assert (doctor.code, update.code) == (0, 0)
    assert f"references: {file.relative_to(varied.folder)}" in doctor.out
    assert f"references {file.relative_to(varied.folder)}" in update.out


def test_an_interruption_writes_nothing(varied: Workspace) -> None:
    """And leaves no engine behind."""
    varied.write_script({"method": "verify", "sleep": 600}, verifies=True)
    gate = varied.start("record-reference", "--yes")
    while not varied.asked("verify"):
        time.sleep(0.01)
    gate.send_signal(signal.SIGINT)

    ran = ended(gate)

    assert ran.code == 130
    assert "repro-gate: interrupted\n" in ran.err
    assert not (varied.snapshots / "references").exists()
    assert varied.engines_alive_after(5) == []


def test_a_check_notes_stale_and_unused_references(varied: Workspace) -> None:
    """They change no outcome."""
    assert varied.run("record-reference", "--yes").code == 0
    _with_another_fox(varied)
    assert varied.record().code == 0
    varied.write_matrix(variants={"two": _VARIANTS["two"]})

    ran = varied.run("check")

    assert ran.code == 0
    again = "repro-gate record-reference --variant two"
    assert (
        f"  message  this reference lacks the golden of 1 cell as it is now: {again}\n" in ran.out
    )
    assert f"  message  this reference for {PROFILE} grades nothing: the matrix has no" in ran.out
