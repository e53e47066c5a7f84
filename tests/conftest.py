"""How thorough property tests are: `HYPOTHESIS_PROFILE=thorough` looks ten times as long as a landing can wait."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("landing", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "landing"))

# Under nohup, or in the background of a script, signals may be ignored by whatever is started: tests would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
