"""A grammar draws the tokens of llama-server: each token that it rejects is drawn again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from repro_gate.samplers import SERVER_ORDER
from tests.contract.oracle.cells import SERVER, cell_of

if TYPE_CHECKING:
    from tests.contract.oracle.twins import Twins

_GRAMMARS = {
    "words": 'root ::= ("yes" | "no" | "perhaps") ("!" | "?")+',
    "numbers": 'root ::= number ("," " "? number)*\nnumber ::= "-"? [0-9]{1,4} ("." [0-9]+)?',
    "JSON": r"""
root   ::= object
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}"
array  ::= "[" ws ( value ("," ws value)* )? "]"
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" ["\\bfnrt] )* "\"" ws
number ::= "-"? [0-9]+ ("." [0-9]+)? ws
ws     ::= | " " | "\n" [ \t]{0,8}
""",
    "capitals": 'root ::= ([A-Z] [a-z]+ " "){3} [^a-z\n]*',
    "accents": "root ::= [à-ÿ🙂🙃 ]{2,20}",
}
_CHECKED: Mapping[str, dict[str, Any]] = {
    **{name: cell_of(grammar=grammar) for name, grammar in _GRAMMARS.items()},
    **{f"{name}, greedy": cell_of(grammar=_GRAMMARS[name], temperature=0) for name in _GRAMMARS},
    "plain": {**SERVER, "sampling": {"grammar": _GRAMMARS["capitals"]}},
    "penalties": cell_of(grammar=_GRAMMARS["JSON"], repeat_penalty=1.4, dry_multiplier=1.0),
    "mirostat": cell_of(("temperature", "mirostat"), grammar=_GRAMMARS["JSON"]),
    "mirostat_v2": cell_of(("temperature", "mirostat_v2"), grammar=_GRAMMARS["capitals"]),
    "adaptive_p": cell_of(
        (*SERVER_ORDER, "adaptive_p"), grammar=_GRAMMARS["capitals"], adaptive_target=0.5
    ),
    "xtc": cell_of(grammar=_GRAMMARS["JSON"], xtc_probability=0.5, xtc_threshold=0.05),
    "logit_bias": cell_of(grammar=_GRAMMARS["numbers"], logit_bias=[[28, 8.0], [2, False]]),
    "ignore_eos": cell_of(grammar=_GRAMMARS["capitals"], ignore_eos=True),
}


@pytest.mark.parametrize("cell", _CHECKED.values(), ids=_CHECKED)
def test_the_tokens_are_those_of_the_server(twins: "Twins", cell: dict[str, Any]) -> None:
    """Also where the samplers remember what they drew; and some draw is rejected."""
    usual = {"prompt": "Dear diary, today I", "max_tokens": 24}
    free = cell | {"sampling": {**cell["sampling"], "grammar": ""}}
    runs = [
        [twins.generate(**usual, **each, seed=seed)["tokens"] for each in (cell, free)]
        for seed in (7, 99)
    ]
    assert all(tokens != others for tokens, others in runs)
