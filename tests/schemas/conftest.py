"""Laws are tried on the same examples every time: a test that passes by luck is no gate."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
