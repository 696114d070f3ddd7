"""Settings in force, each distinct list of them once."""

from repro_gate.core.origins import Origin, SettingInForce, Shared, shared

ONE = SettingInForce(name="top_k", value="40", origin=Origin.MATRIX)
OTHER = SettingInForce(name="top_k", value="40", origin=Origin.LIKE_SERVER)


def test_equal_settings_are_listed_once() -> None:
    """With all names, in the order in which they come."""
    found = shared({"a": (ONE,), "b": (ONE, OTHER), "c": (ONE,)})

    assert found == (
        Shared(names=("a", "c"), settings=(ONE,)),
        Shared(names=("b",), settings=(ONE, OTHER)),
    )


def test_equal_values_of_another_origin_are_listed_apart() -> None:
    """A default may change with a version, and a value of the matrix does not."""
    assert len(shared({"a": (ONE,), "b": (OTHER,)})) == 2
