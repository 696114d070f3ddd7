"""Where two generations diverge, in the words of every report."""

from collections.abc import Callable
from dataclasses import replace

from repro_gate.core.report import CellReport
from repro_gate.core.tokens.cell import Cell
from repro_gate.core.tokens.generation import Generation, Token
from repro_gate.reports.findings.divergence import (
    Explanation,
    evidence,
    explain,
    format_place,
    token_diff,
)
from tests.fakes.values import CHAT, GREEDY, verification_of

Text = Callable[..., Generation]
MANY = " ".join(f"w{number}" for number in range(40))


def explained(cell: CellReport) -> Explanation:
    """Return the explanation of a cell that has one."""
    explanation = explain(cell)
    assert explanation is not None
    return explanation


def test_drift_is_explained_against_the_golden(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """Golden and observed text follow the shared context, with the margin of greedy tokens."""
    greedy = replace(cell(), sampler=GREEDY)
    found = drift(generation("a b c", traced=False), generation("a x y"), greedy)

    assert evidence(explained(found)) == (
        ("context", '" a"'),
        ("golden", '130 " b"'),
        ("observed", '152 " x"'),
        ("golden continues", '" b c"'),
        ("observed continues", '" x y"'),
        ("margin", "0.0100 nats here (0 is a tie)"),
    )


def test_a_fork_names_the_step_from_which_the_logits_differ(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """Rounding shows before a token flips."""
    golden, observed = generation("a b c", logits="123"), generation("a b x", logits="145")

    assert ("logits", "differ from step 1, the tokens from step 2") in evidence(
        explained(drift(golden, observed, cell()))
    )


def test_other_logits_are_shown_by_their_digests(
    drift: Callable[..., CellReport],
    differing_run: Callable[..., CellReport],
    cell: Callable[..., Cell],
    generation: Text,
) -> None:
    """With the text before them, and no continuation, as all tokens are equal."""
    golden, observed = generation("a b c", logits="123"), generation("a b c", logits="143")
    drifted, unstable = drift(golden, observed, cell()), differing_run(cell(), golden, observed)
    before, after = f"digest {'2' * 16}", f"digest {'4' * 16}"

    assert evidence(explained(drifted)) == (
        ("context", '" a"'),
        ("golden", before),
        ("observed", after),
    )
    assert evidence(explained(unstable))[1:] == (("run 1", before), ("run 4", after))
    for found in (drifted, unstable):
        assert list(token_diff(explained(found))) == [
            '  [0] 129 " a"',
            f"- [1] {before}",
            f"+ [1] {after}",
        ]


def test_both_margins_are_shown(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """A near tie when the golden was recorded explains drift as well as one now."""
    greedy = replace(cell(), sampler=GREEDY)
    found = drift(generation("a b c d"), generation("a b c"), greedy)
    moved = drift(generation("a b c"), generation("a b x"), greedy)

    assert [evidence(explained(each))[-1] for each in (found, moved)] == [
        ("margin", "0.0300 nats in the golden (0 is a tie)"),
        ("margin", "0.0200 nats here, 0.0200 nats in the golden (0 is a tie)"),
    ]


def test_early_stop_ends_the_observed_side(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """A generation that stopped early has no continuation."""
    found = drift(generation("a b", traced=False), generation("a", traced=False), cell())

    assert evidence(explained(found)) == (
        ("context", '" a"'),
        ("golden", '130 " b"'),
        ("observed", "(end of sequence)"),
        ("golden continues", '" b"'),
    )


def test_a_token_without_bytes_is_shown_as_its_id(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """In the text around it, the id stands in angle brackets."""
    golden = generation("a b", traced=False)
    unknown = replace(golden, tokens=(replace(golden.tokens[0], data=None), Token(7, None)))
    found = drift(golden, unknown, cell())

    assert evidence(explained(found)) == (
        ("context", '" a"'),
        ("golden", '130 " b"'),
        ("observed", "7"),
        ("golden continues", '" b"'),
        ("observed continues", '"<7>"'),
    )


def test_late_stop_ends_the_golden(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """A golden that stopped first has no continuation."""
    found = drift(generation("a", traced=False), generation("a b", traced=False), cell())

    assert evidence(explained(found)) == (
        ("context", '" a"'),
        ("golden", "(end of sequence)"),
        ("observed", '130 " b"'),
        ("observed continues", '" b"'),
    )


def test_prompt_drift_is_explained_by_the_prompts(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """When the tokens of the prompt changed, neither output nor margins are shown."""
    found = drift(generation("a", prompt="p"), generation("b", prompt="q"), cell())

    assert evidence(explained(found)) == (
        ("context", "none (first token)"),
        ("golden", '144 " p"'),
        ("observed", '145 " q"'),
        ("golden continues", '" p"'),
        ("observed continues", '" q"'),
    )


def test_a_differing_run_is_explained_against_run_one(
    differing_run: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """Only the first differing token of the other run is kept."""
    found = differing_run(cell(), generation("a b c"), generation("a x y"))
    verified = replace(found, verification=verification_of(generation("a x")))

    assert evidence(explained(verified)) == (
        ("context", '" a"'),
        ("run 1", '130 " b"'),
        ("run 4", '152 " x"'),
        ("run 1 continues", '" b c"'),
        ("distance", "0.0200 (0 is a tie); probability 20.0% run 4, 30.0% run 1"),
    )


def test_sampled_tokens_are_shown_with_their_distance(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """The margin decides nothing there: the random number does."""
    golden = generation("a b c")
    found = drift(golden, generation("a x y"), cell())
    verified = replace(found, verification=verification_of(golden))
    impossible = tuple(replace(each, share=None) for each in verified.verification)

    shown = [
        evidence(explained(each))[-1]
        for each in (found, verified, replace(verified, verification=impossible))
    ]
    assert shown == [
        ("observed continues", '" x y"'),
        ("distance", "0.0200 (0 is a tie); probability 20.0% golden, 30.0% observed"),
        ("distance", "0.5000 (0 is a tie); probability 0.0% golden, 30.0% observed"),
    ]


def test_a_verification_without_a_random_number_is_not_shown(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """There is no distance without one."""
    golden = generation("a b c")
    unknown = tuple(replace(each, uniform=None) for each in verification_of(golden))
    found = replace(drift(golden, generation("a x y"), cell()), verification=unknown)
    assert evidence(explained(found))[-1] == ("observed continues", '" x y"')


def test_context_and_continuations_are_limited(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """Sixteen tokens are shown on each side of the divergence."""
    golden, other = generation(f"{MANY} b {MANY}"), generation(f"{MANY} x {MANY}")
    explanation = explained(drift(golden, other, cell()))

    assert explanation.context.split() == MANY.split()[-16:]
    assert explanation.expected_continuation.split() == ["b", *MANY.split()[:15]]
    assert (explanation.observed_continuation or "").split() == ["x", *MANY.split()[:15]]


def test_a_changed_text_of_a_chat_is_a_diff_of_its_lines(
    drift: Callable[..., CellReport], cell: Callable[..., Cell], generation: Text
) -> None:
    """Lines that both sides have again are aligned, and no line has the id of a token."""
    asked = cell().with_input(CHAT, prompt="chat")
    golden = replace(generation("a"), rendered="<s>\nBe brief.\n<user>\nHi\n")
    observed = replace(generation("a"), rendered="<s>\n<user>\nHi\n<assistant>\n")
    found = explained(drift(golden, observed, asked))

    assert format_place(found.divergence) == "template[1]"
    assert evidence(found)[:3] == (
        ("context", '"<s>\\n"'),
        ("golden", '"Be brief.\\n"'),
        ("observed", '"<user>\\n"'),
    )
    assert list(token_diff(found)) == [
        '  [0] "<s>\\n"',
        '- [1] "Be brief.\\n"',
        '  [2] "<user>\\n"',
        '  [3] "Hi\\n"',
        '+ [3] "<assistant>\\n"',
    ]
