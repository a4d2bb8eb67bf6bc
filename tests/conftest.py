"""What holds for all tests."""

from __future__ import annotations

import signal

# In the background of a script (`nohup make test &`) these are ignored, and that is inherited by
# every process that a test starts and means to interrupt. A handler is not inherited.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda number, frame: None)
