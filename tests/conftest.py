"""What holds for all tests."""

from __future__ import annotations

import signal

# In the background of a script (`nohup make test &`) SIGINT is ignored, and that is inherited by
# every process that a test starts and means to interrupt. A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: None)
