"""The collection from its archive and influxops from its wheel, on a machine without a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from influxops_devserver.testing import StandIn
from tests.ansible.conftest import ROOT, Played, Stage, collection, databases, return_values

# pip builds and installs it as anybody would, which takes its time.
pytestmark = pytest.mark.clients

#: The oldest ansible-core that the collection takes, one in the middle, and the newest; and the
#: newest Python that each of them runs with.
CONTROLLERS = {
    "ansible-core==2.16.0": (3, 12),
    "ansible-core==2.18.*": (3, 13),
    "ansible-core": (3, 99),
}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is published."""
    module = collection()
    staged = module.stage(tmp_path_factory.mktemp("staged").resolve())
    archive = module.pack(staged, tmp_path_factory.mktemp("dist"))
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
                "PIP_NO_COMPILE": "1",
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


@pytest.mark.parametrize(
    "requirement",
    [pytest.param(each, id=each) for each in CONTROLLERS],
)
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

    # The fact that the role sets holds for the playbooks that follow.
    whole = (setup, "influxops.influxdb3.ensure_registry")
    first = prefix.run("ansible-playbook", *whole)
    assert first.code == 0, first.output
    assert databases(server) == ["telemetry_a", "telemetry_b"]
    again = prefix.run("ansible-playbook", *whole)
    assert again.code == 0, again.output
    assert "changed=0" in again.output

    retired = prefix.run(
        *("ansible-playbook", "influxops.influxdb3.retire_tenant", "--diff"),
        *("-e", f"ansible_python_interpreter={tmp_path}/influxops/bin/python"),
        *("-e", "influx_tenant=b", "-e", "confirm=b"),
    )
    assert retired.code == 0, retired.output
    assert '-    "name": "telemetry_b"' in retired.output
    assert databases(server) == ["telemetry_a"]


def test_the_wheel_has_the_pages_of_the_documentation(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import influxops.cli.main as program;"
        "assert '.whl/' in program.__file__; program.main()"
    )
    for page in (ROOT / "docs/ledger.md", ROOT / "docs/reference/guards.md"):
        name = str(page.relative_to(ROOT / "docs")).removesuffix(".md")
        command = [sys.executable, "-c", code, str(wheel), "docs", name]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == page.read_text(encoding="utf-8")


def tiny(folder: Path, content: str) -> Path:
    """Write a wheel that is called influxops 7.0, and needs nothing."""
    folder.mkdir()
    wheel = folder / "influxops-7.0-py3-none-any.whl"
    info = "influxops-7.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("influxops.py", f"CONTENT = {content!r}\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: influxops\nVersion: 7.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"influxops.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    return wheel


def test_the_role_installs_what_it_is_given_and_only_where_that_is_not_there(
    prefix: Prefix,
) -> None:
    python = prefix.folder / "influxops/bin/python"

    def content() -> str:
        code = "import influxops; print(influxops.CONTENT)"
        return subprocess.check_output([python, "-I", "-c", code], text=True).strip()

    def run(package: Path | str, *arguments: str, **variables: Any) -> str:
        played = prefix.run("ansible-playbook", prefix.setup(package, **variables), *arguments)
        assert played.code == 0, played.output
        (changed,) = re.findall(r"changed=(\d+)", played.output)
        return str(changed)

    # What lies in the folder that it is called from is not installed.
    (prefix.folder / "influxops.egg-info").mkdir()
    (prefix.folder / "influxops.egg-info/PKG-INFO").write_text("Name: influxops\nVersion: 9.0\n")
    one, two = (tiny(prefix.folder / name, name) for name in ("one", "two"))
    assert run(one, "--check") == "1"
    assert not python.exists()
    run(one)
    assert content() == "one"
    assert run(one) == "0"
    assert run(two, "--check") == "1"
    assert content() == "one"
    run(two)
    assert content() == "two"

    assert run("influxops >= 6") == "0"
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(one.parent)}
    subprocess.run([python, "-m", "pip", "uninstall", "--yes", "influxops"], check=True)
    assert run("influxops==7.0", setup_influxops_environment=index) == "1"
    assert content() == "one"

    checkout = prefix.folder / "checkout"
    checkout.mkdir()
    (checkout / "setup.cfg").write_text(
        "[metadata]\nname = influxops\nversion = 7.0\n[options]\npy_modules = influxops\n"
    )
    (checkout / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools>=77"]\n')
    (checkout / "influxops.py").write_text("CONTENT = 'checkout'\n")
    assert run(checkout) == "1"
    (checkout / "influxops.py").write_text("CONTENT = 'newer'\n")
    assert content() == "newer"
    assert run(checkout) == "0"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"setup_influxops_package": "/nowhere/influxops-7.0-py3-none-any.whl"},
            "there is no /now",
        ),
        ({"setup_influxops_package": "git+https://x.example/y"}, "no requirement like influxops=="),
        ({"setup_influxops_python": "/nowhere/python3"}, "/nowhere/python3 is not there"),
        ({"setup_influxops_python": "OLD"}, "is 3.9. Install one"),
    ],
)
def test_the_role_says_what_it_cannot_install_with_before_it_makes_anything(
    prefix: Prefix, variables: dict[str, str], reason: str
) -> None:
    old = prefix.folder / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    values = {name: str(old) if v == "OLD" else v for name, v in variables.items()}
    wanted = {"setup_influxops_package": "influxops==7.0", **values}
    played = prefix.run(
        "ansible-playbook", prefix.setup(wanted.pop("setup_influxops_package"), **wanted)
    )
    assert played.code != 0
    assert reason in " ".join(played.output.split())
    assert not (prefix.folder / "influxops").exists()


def test_ansible_builder_finds_what_an_execution_environment_needs(prefix: Prefix) -> None:
    told = prefix.run("ansible-builder", "introspect", prefix.collections)
    assert told.code == 0, told.output
    assert "influxops>=0.1.0" in told.output


@pytest.mark.parametrize("module", ["influx_tenant_db", "influx_tenant_db_info"])
def test_every_nested_value_that_a_module_returns_is_documented(
    module: str, stage: Stage, server: StandIn
) -> None:
    result = stage.tasks(
        {"influx_tenant_db": {"url": server.url, "tenants": list("abcdef"), "retention": "30d"}},
        {module: {"url": server.url, "tenants": ["a", "g"], "details": "all"}},
    ).results[1]
    # What Ansible itself adds to any result.
    added = {"changed", "failed", "msg", "warnings", "exception", "deprecations"}
    documented = {"top": {"type": "dict", "contains": return_values(module)}}
    values = {name: value for name, value in result.items() if name not in added}
    undocumented = [*_undocumented("top", values, documented["top"])]
    assert undocumented == []


def _undocumented(where: str, value: Any, documentation: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is in a value and not in its documentation, and what is documented as nothing."""
    contains = documentation.get("contains") or {}
    if "dict" in (documentation["type"], documentation.get("elements")) and not contains:
        yield f"{where} has no `contains`"
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield from (f"{where}.{name}" for name in item if name not in contains)
    for name, inner in contains.items():
        items = value if isinstance(value, list) else [value]
        found = [item[name] for item in items if isinstance(item, dict) and name in item]
        for one in found or [None]:
            yield from _undocumented(f"{where}.{name}", one, inner)
