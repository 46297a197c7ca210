"""What holds for every test.

Machines that run the tests are shared, and may be ten times slower than yours or stand still for seconds. So a test
waits for a state, never for a duration; its deadlines are a minute and more and only find what hangs. Nothing is
asserted about seconds, save the processor's own. Work that has to be under way still is endless or waits at a gate
(`tests.fakes.runtime`), and a fake that hangs does so until the test lets it go. A shared server is left idle.
"""

from __future__ import annotations

import signal

from hypothesis import settings

# How long one example takes says nothing about our code.
settings.register_profile("scumble", deadline=None)
settings.load_profile("scumble")

# A shell's background job, and whatever it starts, ignores the Ctrl-C that some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
