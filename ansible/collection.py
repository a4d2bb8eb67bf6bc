"""Stages the collection outside the checkout, and builds or checks it there.

`ansible-test` and `ansible-galaxy` want a tree `ansible_collections/influxops/influxdb3`; the
checkout has the modules in `ansible/library`, what they share in `ansible/module_utils` and
`ansible/doc_fragments`, its playbooks in `playbooks`, and all else of the collection in
`ansible/collection`.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from influxops import __version__

_HERE = Path(__file__).resolve().parent
_NAME = ("influxops", "influxdb3")
#: The programs of this Python's environment.
_PROGRAMS = Path(sys.executable).parent
_MODULE = "influxops.influxdb3.influx_tenant_db"
#: The collection's folder of each folder here, which Ansible finds by ansible.cfg.
_PLUGINS = {
    "library": "modules",
    "module_utils": "module_utils",
    "doc_fragments": "doc_fragments",
    "lookup": "lookup",
}
#: The files that antsibull-changelog writes.
_CHANGELOG = ("CHANGELOG.md", "changelogs/changelog.yaml")
#: Names that differ inside the collection.
_IN_COLLECTION = {
    r"^from ansible\.module_utils\.influx_tenants ": (
        f"from ansible_collections.{'.'.join(_NAME)}.plugins.module_utils.influx_tenants "
    ),
    r"^  - influx_tenants$": f"  - {'.'.join(_NAME)}.influx_tenants",
}
_IN_PLAYBOOKS = {
    r"^( +)(influx_tenant_db(?:_info)?):": rf"\1{'.'.join(_NAME)}.\2:",
    r"ansible-playbook playbooks/(\w+)\.yml": rf"ansible-playbook {'.'.join(_NAME)}.\1",
}
#: The script with which ansible-core 2.19's ansible-test installs pip into its environments.
_GET_PIP = Path("~/.ansible/test/cache/get_pip_24_2.py")
#: Its replacement where it cannot be downloaded: the pip that Python brings.
_SHIM = '''\
"""Brings pip into an environment of ansible-test without a download.

Put here by influxops' `make sanity`, because nothing else was. Remove it to have the original.
"""
import subprocess
import sys

arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=True)
'''


def stage(folder: Path) -> Path:
    """Put the collection together under `folder/ansible_collections`, and return its folder."""
    galaxy = yaml.safe_load((_HERE / "collection/galaxy.yml").read_text(encoding="utf-8"))
    if galaxy["version"] != __version__:
        raise SystemExit(f"galaxy.yml says {galaxy['version']}, but influxops is {__version__}")
    staged = folder.joinpath("ansible_collections", *_NAME)
    shutil.copytree(_HERE / "collection", staged)
    for ours, theirs in _PLUGINS.items():
        plugins = staged / "plugins" / theirs
        plugins.mkdir(parents=True)
        for path in sorted((_HERE / ours).glob("*.py")):
            _put(path, plugins, _IN_COLLECTION)
    (staged / "playbooks").mkdir()
    for path in sorted((_HERE.parent / "playbooks").glob("*.yml")):
        _put(path, staged / "playbooks", _IN_PLAYBOOKS)
    return staged


def _put(path: Path, folder: Path, names: Mapping[str, str]) -> None:
    """Copy a file, with the names of the collection in it."""
    text = path.read_text(encoding="utf-8")
    for pattern, name in names.items():
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    (folder / path.name).write_text(text, encoding="utf-8")
    shutil.copymode(path, folder / path.name)


def build(staged: Path, out: Path = _HERE.parent / "dist") -> Path:
    """Build the archive, install it into a scratch path, and read the documentation there."""
    archive = pack(staged, out)
    scratch = staged.parents[2] / "installed"
    _run(
        staged.parents[2],
        *("ansible-galaxy", "collection", "install", "--offline", str(archive)),
        *("--collections-path", str(scratch)),
    )
    for module in (_MODULE, f"{_MODULE}_info"):
        # It must come from the archive, not from a collection of this machine's.
        text = _run(staged.parents[2], "ansible-doc", "-t", "module", module, path=scratch)
        if str(scratch) not in text:
            raise SystemExit(f"ansible-doc did not read {module} from {scratch}:\n{text}")
    sys.stdout.write(f"{archive} is built, and can be installed and read\n")
    return archive


def pack(staged: Path, out: Path) -> Path:
    """Build the archive in the folder `out`, and return its path."""
    _run(staged, "ansible-galaxy", "collection", "build", "--force", "--output-path", str(out))
    return out / f"{'-'.join(_NAME)}-{__version__}.tar.gz"


def sanity(staged: Path) -> None:
    """Run all of ansible-test's sanity checks, check the changelog, and import as Galaxy does."""
    shim = _GET_PIP.expanduser()
    if not shim.exists():
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.write_text(_SHIM, encoding="utf-8")
    _test(staged, "sanity", "--venv", "--python", "3.11")
    _hold_changelog(staged)
    _import(build(staged, staged.parents[2]))


def integration(staged: Path) -> None:
    """Run the integration targets here, against stand-ins that they start and end."""
    _test(staged, "integration", "--local", "--python-interpreter", sys.executable)


def changelog(staged: Path) -> None:
    """Write the changelog of the version in galaxy.yml from its fragments."""
    _write_changelog(staged)
    for name in _CHANGELOG:
        shutil.copyfile(staged / name, _HERE / "collection" / name)


def _write_changelog(staged: Path, *when: str) -> None:
    _run(staged, "antsibull-changelog", "lint")
    # The release is written from the fragments and plugins of today.
    _run(
        staged,
        *("antsibull-changelog", "release", "--update-existing", "--reload-plugins", "--refresh"),
        *when,
    )


def _hold_changelog(staged: Path) -> None:
    """Check that the changelog is up to date with its fragments."""
    written = yaml.safe_load((staged / _CHANGELOG[1]).read_text(encoding="utf-8"))
    release = written["releases"].get(__version__)
    if release is None:
        raise SystemExit(f"the changelog has no {__version__}: run `make changelog`")
    _write_changelog(staged, "--date", release["release_date"])
    _run(staged, "antsibull-changelog", "lint-changelog-yaml", "--strict", _CHANGELOG[1])
    for name in _CHANGELOG:
        if (staged / name).read_bytes() != (_HERE / "collection" / name).read_bytes():
            raise SystemExit(f"{name} is not what its fragments say: run `make changelog`")
    sys.stdout.write("the changelog is what its fragments say\n")


def _import(archive: Path) -> None:
    """Run galaxy-importer on the archive, as Galaxy does; a warning is a failure, too."""
    done = subprocess.run(  # of our own  # noqa: S603
        [sys.executable, "-m", "galaxy_importer.main", str(archive)],
        cwd=archive.parent,
        env={**_environment(), "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true"},
        capture_output=True,
        text=True,
    )
    output = done.stdout + done.stderr
    if done.returncode or re.search(r"^(WARNING|ERROR)", output, flags=re.MULTILINE):
        raise SystemExit(f"galaxy-importer does not take the collection:\n{output}")
    sys.stdout.write("galaxy-importer takes the collection\n")


def lint(staged: Path) -> None:
    """Run ansible-lint's strictest profile on the collection and on the examples in it.

    ansible-lint checks only the YAML of examples, so each module's become a play here.
    """
    plays = staged / "playbooks"
    for module in sorted((staged / "plugins/modules").glob("*.py")):
        play = {
            "name": f"Examples of {module.stem}",
            "hosts": "all",
            "tasks": yaml.safe_load(_assigned(module, "EXAMPLES")),
        }
        text = yaml.dump(
            [play],
            Dumper=_Indented,
            sort_keys=False,
            explicit_start=True,
            default_flow_style=False,
            width=160,
        )
        (plays / f"examples_{module.stem}.yml").write_text(text, encoding="utf-8")
    _run(
        staged,
        *("ansible-lint", "--offline", "--profile", "production", "--exclude", "changelogs"),
        path=staged.parents[2],
    )


class _Indented(yaml.SafeDumper):
    """Indents lists, as ansible-lint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _assigned(module: Path, name: str) -> str:
    """Return the text that a module assigns to a name."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise SystemExit(f"{module} has no {name}")


def _test(staged: Path, *arguments: str) -> None:
    """Run ansible-test, and show its output."""
    command = [str(_PROGRAMS / "ansible-test"), *arguments]
    code = subprocess.run(command, cwd=staged, env=_environment()).returncode  # of our own  # noqa: S603
    if code:
        raise SystemExit(code)


def _run(folder: Path, program: str, *arguments: str, path: Path | None = None) -> str:
    environment = _environment()
    if path is not None:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(path)
    done = subprocess.run(  # of our own  # noqa: S603
        [str(_PROGRAMS / program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _environment() -> dict[str, str]:
    # Ansible insists on UTF-8.
    path = f"{_PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": path}


def main() -> None:
    """Run the command of the command line in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = {step.__name__: step for step in (build, changelog, integration, lint, sanity)}
    parser.add_argument("command", choices=commands)
    command = commands[parser.parse_args().command]
    with tempfile.TemporaryDirectory(prefix="influxops-collection-") as folder:
        command(stage(Path(folder).resolve()))


if __name__ == "__main__":
    main()
