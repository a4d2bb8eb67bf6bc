"""A command whose standard output is a terminal, and whose standard error is a file."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import tempfile
import threading

from tests.integration.command import STUCK, Cli, Result


def at_terminal(cli: Cli, command: str, width: int) -> Result:
    """Run a command at a terminal; what it writes at one of 80 columns is given without colours."""
    ours, theirs = pty.openpty()
    variables = {"COLUMNS": str(width), "LINES": "50", "TERM": "xterm-256color"}
    said = b""

    def read() -> None:
        nonlocal said
        with contextlib.suppress(OSError):  # how Linux tells that a terminal has closed
            while part := os.read(ours, 65536):
                said += part

    reader = threading.Thread(target=read)
    reader.start()
    with tempfile.NamedTemporaryFile("r+") as complaints:
        with cli.start(command.split(), variables, theirs, complaints.fileno()) as process:
            os.close(theirs)
            code = process.wait(STUCK)
        reader.join()
        os.close(ours)
        text = said.decode().replace("\r\n", "\n")
        if width == 80:
            text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        complaints.seek(0)
        return Result(code, text, complaints.read())
