"""What `influxops dev-server` prints can be pasted into a shell."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.integration.command import PROGRAM

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def test_the_lines_to_type_work_as_they_are_printed_and_give_the_first_token() -> None:
    arguments = [str(PROGRAM), "dev-server", "--port", "0", "--with-auth"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines: list[str] = []
            while not (lines and lines[-1].startswith("Ready: ")):
                lines.append(server.stdout.readline())
                assert lines[-1], "it ended"
            typed = "".join(line for line in lines if line.startswith("  "))
            shell = subprocess.run(
                ["/bin/sh", "-e", "-c", f"{typed}echo $INFLUXDB_URL"],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            server.terminate()
    assert shell.returncode == 0, shell.stderr
    answer, url = shell.stdout.splitlines()
    assert json.loads(answer)["token"].startswith("apiv3_")
    assert lines[-1].startswith(f"Ready: {url} ")
