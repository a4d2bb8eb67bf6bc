"""The one door through which commands write; what is foreign is made safe in it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from influxops.domain.text import one_line
from influxops.runtime.stdio import has_colour, write_stream

_COLOURS = {
    "ok": "green",
    "note": "yellow",
    "FAIL": "red",
    "WARN": "yellow",
    "ERR": "red",
    "error": "red",
}

_LEVELS = {"error": logging.ERROR, "ERR": logging.ERROR, "WARN": logging.WARNING}

#: Gives the record of a level and a text, once standard error is to hold records only.
_record: Callable[[int, str], str] | None = None


def speak_records(record: Callable[[int, str], str] | None) -> None:
    """Let all that is said on standard error be a record of the log."""
    global _record
    _record = record


def speaks_records() -> bool:
    """Return whether standard error holds records only."""
    return _record is not None


def error_line(text: str, *, label: str = "", before: str = "") -> str:
    """Return the line, or the record, that `say` writes to standard error."""
    if _record is not None:
        return _record(_LEVELS.get(_word(label), logging.INFO), text)
    return _line(text, label, before, sys.stderr)


def _line(text: str, label: str, before: str, stream: TextIO | None) -> str:
    coloured = bool(label) and has_colour(stream)
    shown = click.style(label, fg=_COLOURS.get(_word(label))) if coloured else label
    return f"{before}{shown}{' ' if label else ''}{one_line(text)}"


def _word(label: str) -> str:
    return label.strip().rstrip(":")


def put(text: str, *, err: bool = False) -> None:
    """Print text that is fit to be printed."""
    write_stream(sys.stderr if err else sys.stdout, f"{text}\n")


def say(text: str, *, label: str = "", before: str = "", err: bool = False) -> None:
    """Print a line of text that may hold anything, after a coloured label and other text."""
    if err:
        put(error_line(text, label=label, before=before), err=True)
    else:
        put(_line(text, label, before, sys.stdout))


def say_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document to standard output, in ASCII: whole in any encoding, and harmless."""
    put(json.dumps(document, indent=indent))
