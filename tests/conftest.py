"""How thorough property tests are: `HYPOTHESIS_PROFILE=thorough` looks ten times as long as a landing can wait."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("landing", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "landing"))

# Under nohup a hang-up is ignored, by whatever is started too, and tests of that signal would wait in vain.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
