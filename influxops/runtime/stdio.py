"""Writing to standard output and error, whatever is written and whether it is read or not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from influxops.errors import ReporterError

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sits at the other end."""
    return stream is not None and not stream.closed and stream.isatty()


def has_escapes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that knows escape sequences: `TERM` is not `dumb`."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def has_colour(stream: TextIO | None) -> bool:
    """Return whether a stream is to have colours: a terminal's, unless `NO_COLOR` is set."""
    return has_escapes(stream) and not os.environ.get("NO_COLOR")


def console(stream: TextIO | None, colour: Literal["auto", "always", "never"] = "auto") -> Console:
    """Return a rich console for a stream; it interprets no text: no markup, no emoji."""
    import io

    from rich.console import Console

    always = colour == "always"
    wanted = always or (colour == "auto" and has_colour(stream))
    return Console(
        file=io.StringIO() if stream is None else stream,
        force_terminal=always or has_escapes(stream),
        # Without a colour system there is no other style either, and no sequence at all.
        color_system=None if not wanted else "standard" if always else "auto",
        no_color=not wanted,
        markup=False,
        emoji=False,
        highlight=False,
    )


def write_stream(stream: TextIO | None, text: str) -> None:
    """Write text and flush it; a full disk, for instance, is a ReporterError."""
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
    """Lead a stream that failed into nothing; return what to report, if anyone still reads."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
    if isinstance(error, BrokenPipeError):
        return None
    return ReporterError(
        f"standard output cannot be written: {error.strerror or error}",
        hint="make room, or lead it elsewhere; what was done stays done",
    )
