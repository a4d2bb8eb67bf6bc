"""The wheel, made of the sdist, in a fresh environment: all that it needs is in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import urllib3

from tests.conftest import GiveStandIn
from tests.deployment.prometheus import ROOT
from tests.pg import TestDatabase
from tests.web.conftest import REGISTRY

pytestmark = [pytest.mark.stand_in, pytest.mark.clients]

CONFIG = """
[sources.registry]
kind = "postgres"

[sources.tenants]
kind = "postgres"
like = "registry"
table = "tenants"

[ledger]
kind = "postgres"

[targets.eu1]
kind = "influxdb3"
url = "{url}"
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    given = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8", **env}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of what git has, and the wheel of that."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = ROOT / name, tree / name
        if source.is_symlink() or source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree, cwd=folder)
    return folder


def test_the_files_of_a_deployment_are_in_the_wheel_and_in_the_sdist(dist: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT / "docs"))
        for path in (ROOT / "docs").rglob("*")
        if path.suffix == ".md" or path.parent.name == "deployment"
    }
    (wheel,) = dist.glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert wanted <= {name.removeprefix("influxops/docs/") for name in inside}
    assert not [name for name in inside if name.startswith(("tests/", "build/"))]
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(name.endswith("docs/deployment/alerts.yml") for name in names)


def test_a_fresh_environment_runs_all_of_it(
    dist: Path, tmp_path: Path, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    (wheel,) = dist.glob("*.whl")
    eu1 = stand_in(max_databases=None)
    db.execute(REGISTRY)
    db.execute("INSERT INTO device_registry (device_id, tenant_id) VALUES ('d', 'acme')")
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    run(bin_ / "python", *pip, f"{wheel}[queue,web]", cwd=tmp_path)
    (tmp_path / "influxops.toml").write_text(CONFIG.format(url=eu1.url))
    program = bin_ / "influxops"

    def influxops(*arguments: str) -> str:
        return run(program, *arguments, cwd=tmp_path, **db.environment)

    assert "alerts.yml" in influxops("docs")
    assert "[Service]" in influxops("docs", "influxops-worker.service")
    for command in ("ledger install", "db upgrade", "queue install --trigger"):
        influxops(*command.split())
    assert "1 created" in influxops("ensure", "--allow", "new-source")
    assert eu1.databases() == ["telemetry_acme"]
    influxops("doctor")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **db.environment}
    with subprocess.Popen(
        [program, "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            page = urllib3.request("GET", f"{url}/login", headers={"Accept": "text/html"})
            assert page.status == 200
            assert b"<form" in page.data
            assert urllib3.request("GET", f"{url}/static/console.css").status == 200
        finally:
            process.terminate()
