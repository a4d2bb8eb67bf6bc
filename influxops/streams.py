"""Writing to standard output and error, whatever is written and whoever reads."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from influxops.errors import ReporterError


def write_stream(stream: TextIO | None, text: str) -> None:
    """Write text and flush it.

    What the stream's encoding lacks is written as `?`. A reader that has gone away (`| head`) is
    no failure, and neither is a standard error that takes nothing: there is nobody to tell.

    Args:
        stream: Standard output or error; None where it was closed from the beginning.
        text: What to write.

    Raises:
        ReporterError: When standard output cannot be written, for instance on a full disk.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except OSError as error:
        failure = give_up(stream, error)
        if failure is not None and stream is not sys.stderr:
            raise failure from None


def give_up(stream: TextIO, error: OSError) -> ReporterError | None:
    """Lead a stream that failed into nothing, so that what is still buffered fails no more.

    Args:
        stream: Standard output or error.
        error: What it failed with.

    Returns:
        What to tell; None where whoever read it has gone away.
    """
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
    if isinstance(error, BrokenPipeError):
        return None
    return ReporterError(
        f"standard output cannot be written: {error.strerror or error}",
        hint="make room, or lead it elsewhere; what was done stays done",
    )
