"""The one door through which commands write; what is foreign is made safe in it."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from influxops.naming import one_line
from influxops.streams import write_stream

_COLOURS = {
    "ok": "green",
    "note": "yellow",
    "FAIL": "red",
    "WARN": "yellow",
    "ERR": "red",
    "error": "red",
}


def put(text: str, *, err: bool = False) -> None:
    """Print text that is fit to be printed, without its colours where no terminal shows them.

    Args:
        text: What to print; a line break is added.
        err: Whether it goes to standard error.

    Raises:
        ReporterError: When standard output cannot be written.
    """
    stream = sys.stderr if err else sys.stdout
    coloured = stream is not None and stream.isatty()
    write_stream(stream, (text if coloured else click.unstyle(text)) + "\n")


def say(text: str, *, label: str = "", before: str = "", err: bool = False) -> None:
    """Print one line of text that may hold anything.

    Args:
        text: What to say; what would break the line or steer the terminal is written out.
        label: A word of ours in front of it, in its colour on a terminal.
        before: Our own text in front of the label.
        err: Whether it goes to standard error.
    """
    shown = click.style(label, fg=_COLOURS.get(label.strip().rstrip(":")))
    put(f"{before}{shown}{' ' if label else ''}{one_line(text)}", err=err)


def say_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document to standard output, in ASCII: whole in any encoding, and harmless.

    Args:
        document: What JSON knows.
        indent: Spaces a level; None for one line.
    """
    put(json.dumps(document, indent=indent))
