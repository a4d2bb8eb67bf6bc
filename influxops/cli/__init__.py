"""The command line, `influxops`: how it starts and how it ends.

Nothing else is here, so that Ctrl-C meets a `try` as soon as Python itself has started.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; every error ends with its message and exit code, none with a trace."""
    try:
        code = _run()
    except KeyboardInterrupt:
        code = _interrupted()
    _die_quietly()
    sys.exit(code)


def _run() -> int:
    # Imported here: Ctrl-C while this is under way is caught as well.
    from influxops.cli.failure import end_with
    from influxops.cli.group import cli
    from influxops.cli.options import Common

    options = Common()
    try:
        code = cli.main(prog_name="influxops", standalone_mode=False, obj=options)
    except BrokenPipeError:
        # Whoever read this has gone (`| head`); keep the interpreter from complaining of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return end_with(error, traceback=options.verbose > 1)
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    import contextlib

    with contextlib.suppress(OSError):
        os.write(2, b"influxops: interrupted\n")
    return 130


def _die_quietly() -> None:
    """Let Ctrl-C while the interpreter takes itself down end it without a traceback."""
    import contextlib
    import signal

    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
