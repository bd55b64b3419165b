"""Hypothesis for the whole run: no test fails for being slow, and a failure prints how to repeat it."""

from hypothesis import settings

settings.register_profile("chartmesh", settings(), deadline=None, print_blob=True)
settings.load_profile("chartmesh")
