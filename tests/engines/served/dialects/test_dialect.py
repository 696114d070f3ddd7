"""What all kinds of servers have in common."""

from repro_gate.engines.served.dialects.dialect import Step, digest

STEP = Step(-0.5, ((1, -0.5), (2, -1.0)))


def test_a_digest_is_of_all_that_the_server_gave() -> None:
    """Another token, and the last digit of any log-probability, give another one."""
    others = [
        (1, None),
        (2, STEP),
        (1, Step(-0.5000000000000001, STEP.best)),
        (1, Step(-0.5, ((1, -0.5), (2, -1.0000000000000002)))),
        (1, Step(-0.5, ((1, -0.5), (3, -1.0)))),
    ]
    found = {digest(1, STEP), *(digest(token, step) for token, step in others)}
    assert len(found) == 1 + len(others)
    assert digest(1, STEP) == digest(1, Step.of(-0.5, [(2, -1.0), (1, -0.5)]))
