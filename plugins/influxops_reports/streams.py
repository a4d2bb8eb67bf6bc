"""Writing to standard output and error without ever failing for what is written or who reads."""

from __future__ import annotations

import os
from typing import TextIO


def write(stream: TextIO, text: str) -> None:
    """Write text and flush it.

    What the stream's encoding lacks is written as `?`. A reader that has gone away (`| head`) is
    no failure: the stream is led into nothing, so that Python's own flush at the end is silent.

    Args:
        stream: Standard output or error.
        text: What to write.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
