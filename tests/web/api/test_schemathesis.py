"""Schemathesis asks the real service what its description promises, all checks on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.command import PROGRAM
from tests.web.conftest import Web

pytestmark = [pytest.mark.stand_in, pytest.mark.clients]


def test_the_service_does_what_its_description_says(web: Web, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(PROGRAM.with_name("schemathesis")),
            "run",
            f"{web.url}/openapi.json",
            *("--header", f"Authorization: Bearer {web.admin}"),
            *("--checks", "all"),
            *("--max-examples", "5"),
            *("--seed", "1"),
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Selected: 15/15" in done.stdout
    assert "Tested: 15" in done.stdout
    refused = web.ask("PUT", "/operator/tenants")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST")
    log = web.logged()
    assert " 500 " not in log
    assert web.admin not in log
