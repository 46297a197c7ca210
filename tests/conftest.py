"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# Machines that run the tests are shared: how long one example takes says nothing about our code.
settings.register_profile("scumble", deadline=None)
settings.load_profile("scumble")
