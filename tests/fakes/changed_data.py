"""What hypothesis makes of JSON data: the same, but for a few places."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

Steps: TypeAlias = tuple[str | int, ...]

_VALUES: Sequence[Any] = (
    *(None, True, False, 0, 1, -1, 2, 10**6, 2**62, 2**63 - 1, -(2**63), 2**63, 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1.0, 1e308, -1e308, 5e-324, "inf", "-inf", "nan", "Infinity"),
    *("", "x", "--x;rm", "a\\x1b", "\\q", "@team", "<!--", "match", "drift", "length"),
    *([], [1], [None], {}, {"kind": "match"}, {"x": "y"}),
)
"""What fits somewhere, what fits nowhere, and the edges of what fits."""


def places_in(data: Any, steps: Steps = ()) -> Iterator[Steps]:
    """Yield the way to every value in data, but not to the data itself."""
    inner = data.items() if isinstance(data, Mapping) else enumerate(data)
    for step, value in inner:
        yield (*steps, step)
        if isinstance(value, dict | list):
            yield from places_in(value, (*steps, step))


def kinds_of_places_in(data: Any) -> Sequence[Steps]:
    """Return the way to one value for each field there is, whatever lists it is in."""
    kinds = {tuple(s for s in steps if isinstance(s, str)): steps for steps in places_in(data)}
    return tuple(kinds.values())


def with_value(data: Any, steps: Steps, value: Any) -> Any:
    """Return data with another value at one place."""
    result = copy.deepcopy(data)
    *outer, last = steps
    holder = result
    for step in outer:
        holder = holder[step]
    # A copy, because the next change may be within.
    holder[last] = copy.deepcopy(value)
    return result


@st.composite
def changed(draw: st.DrawFn, data: Any) -> Any:
    """Draw data in which a few values have been replaced, removed or added."""
    result = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        *steps, last = draw(st.sampled_from(list(places_in(result))))
        holder = result
        for step in steps:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if change == "remove" and len(result) > 1:
            del holder[last]
        else:
            place = "another" if change == "add" and isinstance(holder, dict) else last
            result = with_value(result, (*steps, place), draw(st.sampled_from(_VALUES)))
    return result
