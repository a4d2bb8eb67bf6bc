"""The one door through which commands write; what is foreign is made safe in it."""

from __future__ import annotations

import json
from typing import Any

import click

from influxops.naming import one_line

_COLOURS = {
    "ok": "green",
    "note": "yellow",
    "FAIL": "red",
    "WARN": "yellow",
    "ERR": "red",
    "error": "red",
}


def say(text: str, *, label: str = "", before: str = "", err: bool = False) -> None:
    """Print one line of text that may hold anything.

    Args:
        text: What to say; what would break the line or steer the terminal is written out.
        label: A word of ours in front of it, in its colour on a terminal.
        before: Our own text in front of the label.
        err: Whether it goes to standard error.
    """
    shown = click.style(label, fg=_COLOURS.get(label.strip().rstrip(":")))
    click.echo(f"{before}{shown}{' ' if label else ''}{one_line(text)}", err=err)


def say_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document to standard output, in ASCII: whole in any encoding, and harmless.

    Args:
        document: What JSON knows.
        indent: Spaces a level; None for one line.
    """
    click.echo(json.dumps(document, indent=indent))
