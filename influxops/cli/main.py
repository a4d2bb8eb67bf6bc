"""The command line, `influxops`: how it starts and how it ends.

Nothing else is here, so that Ctrl-C meets a `try` as soon as Python itself has started.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influxops.cli.options import Common


def main() -> None:
    """Run the command line; every error ends with its message and exit code, none with a trace."""
    try:
        _open_what_was_closed()
        code = run()
    except KeyboardInterrupt:
        code = _interrupted()
    _die_quietly()
    # Else Python looks for cycles among all that was imported again, as long as a third of all
    # imports took.
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None, options: Common | None = None) -> int:
    """Run a command, that of this process where none is given; return its exit code."""
    # Imported here: Ctrl-C while this is under way is caught as well.
    import errno

    # Looking for cycles among the objects of imports and of many tenants, which stay, takes a
    # tenth of the time.
    gc.set_threshold(100_000)
    from influxops.cli.app import cli
    from influxops.cli.failures import end_with
    from influxops.cli.options import Common
    from influxops.runtime.stdio import give_up

    options = options or Common()
    stdout = sys.stdout
    try:
        code = cli.main(arguments, prog_name="influxops", standalone_mode=False, obj=options)
    except SystemExit as error:
        # Click exchanges standard output, and exits with 1, where the reader of its help has ended
        # (`--help | head`): no failure. Any other is of a plugin's command.
        if sys.stdout is not stdout or error.code is None:
            return 0
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
            error = give_up(sys.stdout, error) or error
        return end_with(error, traceback=options.verbose > 1, as_json=options.output == "json")
    return code if isinstance(code, int) else 0


def _open_what_was_closed() -> None:
    """Lead standard streams that were closed from the beginning (`2>&-`) into nothing.

    Else the next socket or file would get their number, and what is meant for a person would be
    written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != number:
            os.dup2(nothing, number)
            os.close(nothing)
        mode = "w" if number else "r"
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


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
