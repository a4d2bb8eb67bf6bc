"""The collection from its archive and influxops from its wheel, on a machine without a checkout."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from influxops_demo.testing import StandIn
from tests.ansible.conftest import ROOT, Played, databases

#: The oldest ansible-core that the collection takes, one in the middle, and the newest; and the
#: newest Python that each of them runs with.
CONTROLLERS = {
    "ansible-core==2.16.0": (3, 12),
    "ansible-core==2.18.*": (3, 13),
    "ansible-core": (3, 99),
}


def _collection() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collection", ROOT / "ansible/collection.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is published."""
    module = _collection()
    staged = module.stage(tmp_path_factory.mktemp("staged").resolve())
    archive = module.build(staged, tmp_path_factory.mktemp("dist"))
    assert isinstance(archive, Path)
    return archive


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of influxops, built from a copy, as builds leave things behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("influxops", "plugins"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Prefix:
    """A home, a folder of collections and an Ansible of their own; nothing of this checkout."""

    folder: Path
    programs: Path  # the folder of Ansible's programs

    @property
    def collections(self) -> Path:
        return self.folder / "collections"

    def run(self, program: str, *arguments: object, **environment: str) -> Played:
        """Run one of Ansible's programs."""
        foreign = ("PG", "INFLUX", "ANSIBLE_", "PYTHON", "VIRTUAL_ENV")
        own = {name: v for name, v in os.environ.items() if not name.startswith(foreign)}
        done = subprocess.run(
            [str(self.programs / program), *map(str, arguments)],
            cwd=self.folder,
            env={
                # What is downloaded is kept for the next one.
                "PIP_CACHE_DIR": str(Path("~/.cache/pip").expanduser()),
                **own,
                "HOME": str(self.folder / "home"),
                "PWD": str(self.folder),
                "PATH": f"{self.programs}:/usr/bin:/bin",
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_NOCOLOR": "1",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Played(done.returncode, done.stdout + done.stderr, [])

    def install(self, archive: Path) -> None:
        """Install the collection from its archive."""
        where = ("--collections-path", self.collections)
        done = self.run("ansible-galaxy", "collection", "install", "--offline", archive, *where)
        assert done.code == 0, done.output

    def book(self, name: str, *plays: Mapping[str, Any]) -> Path:
        """Write a playbook."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(list(plays), sort_keys=False), encoding="utf-8")
        return path

    def setup(self, package: Path | str, **variables: Any) -> Path:
        """Write the playbook that lets the role install a package."""
        values = {
            "setup_influxops_package": str(package),
            "setup_influxops_venv": str(self.folder / "influxops"),
            # Not the one of the virtual environment that runs this.
            "setup_influxops_python": str(Path(sys.executable).resolve()),
            **variables,
        }
        role = {"role": "influxops.influxdb3.setup", "vars": values}
        return self.book("setup.yml", {**_HERE, "roles": [role]})


_HERE = {"hosts": "localhost", "gather_facts": False}


def _prefix(folder: Path, programs: Path) -> Prefix:
    (folder / "home").mkdir()
    return Prefix(folder, programs)


@pytest.fixture
def prefix(tmp_path: Path, archive: Path) -> Prefix:
    """One with the Ansible that runs all other tests."""
    prefix = _prefix(tmp_path, Path(sys.executable).parent)
    prefix.install(archive)
    return prefix


def controller(requirement: str) -> Path:
    """Return the programs of an Ansible; it is installed once for an environment of tests."""
    folder = Path(sys.prefix, "controllers", re.sub(r"[^\w.]+", "-", requirement).strip("-."))
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", requirement]
        subprocess.run(pip, check=True)
        done.touch()
    return folder / "bin"


@pytest.mark.parametrize("requirement", CONTROLLERS)
def test_from_its_archive_alone_the_collection_installs_influxops_and_serves_a_registry(
    requirement: str, tmp_path: Path, archive: Path, wheel: Path, server: StandIn
) -> None:
    if sys.version_info[:2] > CONTROLLERS[requirement]:
        pytest.skip(f"{requirement} does not run with Python {sys.version_info[:2]}")
    prefix = _prefix(tmp_path, controller(requirement))
    prefix.install(archive)
    (tmp_path / "influxops.toml").write_text(
        f'[sources.s]\nkind = "static"\ntenants = ["a", "b"]\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    setup = prefix.setup(wheel)
    python = tmp_path / "influxops/bin/python"

    foreseen = prefix.run("ansible-playbook", setup, "--check")
    assert foreseen.code == 0, foreseen.output
    assert "changed=1" in foreseen.output
    assert not python.exists()

    # The fact that the role sets holds for the playbooks that follow.
    whole = (setup, "influxops.influxdb3.ensure_registry")
    first = prefix.run("ansible-playbook", *whole)
    assert first.code == 0, first.output
    assert databases(server) == ["telemetry_a", "telemetry_b"]
    again = prefix.run("ansible-playbook", *whole)
    assert again.code == 0, again.output
    assert "changed=0" in again.output
    foreseen = prefix.run("ansible-playbook", *whole, "--check", "--diff")
    assert foreseen.code == 0, foreseen.output
    assert "changed=0" in foreseen.output

    retired = prefix.run(
        *("ansible-playbook", "influxops.influxdb3.retire_tenant"),
        *("-e", f"ansible_python_interpreter={python}"),
        *("-e", "influx_tenant=b", "-e", "confirm=b"),
    )
    assert retired.code == 0, retired.output
    assert databases(server) == ["telemetry_a"]
    audit = prefix.run(
        *("ansible-playbook", "influxops.influxdb3.audit"),
        *("-e", f"ansible_python_interpreter={python}"),
    )
    assert audit.code != 0
    assert "no database: b" in audit.output
