"""The platform's flow, by curl."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.provisioner.conftest import until
from tests.web.conftest import Web

pytestmark = pytest.mark.stand_in


def curl(*arguments: str) -> tuple[int, Any]:
    """Run curl; give the status and the JSON that was answered."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body.strip() else None


def marker(web: Web, tenant: str) -> dict[str, Any]:
    """The row that shows that a tenant's database is complete; it follows within a second."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        with contextlib.suppress(AssertionError):
            found[:] = web.influx.rows(f"telemetry_{tenant}", "SELECT * FROM _init LIMIT 1")
        return bool(found)

    until(is_there)
    return found[0]


def test_a_tenant_is_created_with_its_database_and_counted(web: Web, tmp_path: Path) -> None:
    bearer = ("-H", f"Authorization: Bearer {web.admin}")
    jar = str(tmp_path / "cookies")
    login = ("--cookie-jar", jar, "--json", json.dumps({"token": web.admin}))
    status, session = curl(f"{web.url}/login", *login)
    assert status == 200
    cookie = ("--cookie", jar, "-H", f"X-CSRF-Token: {session['csrf_token']}")
    for tenant, credentials in (("acme", bearer), ("globex", cookie)):
        body = json.dumps({"tenant_id": tenant, "name": tenant.title()})
        status, created = curl(f"{web.url}/operator/tenants", *credentials, "--json", body)
        assert (status, created) == (
            201,
            {"tenant_id": tenant, "status": "created", "influxdb_provisioned": True},
        )
        row = marker(web, tenant)
        assert (row["tenant"], row["value"]) == (tenant, 1)
        status, found = curl(f"{web.url}/operator/tenants/{tenant}/stats", *credentials)
        assert status == 200
        assert found["influxdb"] == {
            "exists": True,
            "telemetry_count": 0,
            "rows": 0,
            "tables": [],
            "last_write": None,
            "error": None,
        }
        assert (found["name"], found["status"]) == (tenant.title(), "active")
        assert found["stats"]["devices"] == 0
    status, found = curl(f"{web.url}/operator/tenants", *bearer)
    assert status == 200
    assert [each["tenant_id"] for each in found["tenants"]] == ["acme", "globex"]
