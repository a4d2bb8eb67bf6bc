"""Run a command, and print as JSON what it took: `python -ISs bench/timed.py SECONDS COMMAND…`.

A process of its own, because the peak memory of a child is at least its parent's: this one is
small. The command's output goes to this one's standard error. It is killed after so many seconds.
"""

import json
import os
import signal
import sys
import time


def main() -> int:
    began = time.monotonic()
    child = os.posix_spawn(
        sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
    )
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(child, signal.SIGKILL))
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, signal.SIGKILL))
    signal.alarm(int(sys.argv[1]))
    _, status, usage = os.wait4(child, 0)
    found = {
        "seconds": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
