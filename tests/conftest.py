"""Property tests draw the same examples each time, and no test asserts a time."""

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")
