"""Stages the collection outside the checkout, and builds or checks it there.

`ansible-test` and `ansible-galaxy` want a tree `ansible_collections/influxops/influxdb3`; the
checkout has the modules in `ansible/library`, what they share in `ansible/module_utils` and
`ansible/doc_fragments`, and all else of the collection in `ansible/collection`.
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
from pathlib import Path

import yaml

from influxops import __version__

_HERE = Path(__file__).resolve().parent
_NAME = ("influxops", "influxdb3")
#: The programs of the environment that runs this.
_PROGRAMS = Path(sys.executable).parent
_MODULE = "influxops.influxdb3.influx_tenant_db"
#: Where the collection has what the checkout has; Ansible finds the latter by ansible.cfg.
_PLUGINS = {
    "library": "modules",
    "module_utils": "module_utils",
    "doc_fragments": "doc_fragments",
    "lookup": "lookup",
}
#: What is called otherwise inside the collection.
_IN_COLLECTION = {
    r"^from ansible\.module_utils\.influx_tenants ": (
        f"from ansible_collections.{'.'.join(_NAME)}.plugins.module_utils.influx_tenants "
    ),
    r"^  - influx_tenants$": f"  - {'.'.join(_NAME)}.influx_tenants",
}
#: Where ansible-core 2.19's ansible-test keeps the script that brings pip into its environments.
_GET_PIP = Path("~/.ansible/test/cache/get_pip_24_2.py")
#: What takes its place where the host that has it is out of reach: the pip that Python brings.
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
    """Put the collection together.

    Args:
        folder: Where `ansible_collections` is to be.

    Returns:
        The collection's own folder.
    """
    galaxy = yaml.safe_load((_HERE / "collection/galaxy.yml").read_text(encoding="utf-8"))
    if galaxy["version"] != __version__:
        raise SystemExit(f"galaxy.yml says {galaxy['version']}, but influxops is {__version__}")
    staged = folder.joinpath("ansible_collections", *_NAME)
    shutil.copytree(_HERE / "collection", staged)
    for ours, theirs in _PLUGINS.items():
        plugins = staged / "plugins" / theirs
        plugins.mkdir(parents=True)
        for path in sorted((_HERE / ours).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            for pattern, name in _IN_COLLECTION.items():
                text = re.sub(pattern, name, text, flags=re.MULTILINE)
            (plugins / path.name).write_text(text, encoding="utf-8")
            shutil.copymode(path, plugins / path.name)
    return staged


def build(staged: Path) -> None:
    """Build the archive, install it into a scratch path, and read a module's documentation there.

    Args:
        staged: The collection.
    """
    out = _HERE.parent / "dist"
    archive = out / f"{'-'.join(_NAME)}-{__version__}.tar.gz"
    scratch = staged.parents[2] / "installed"
    _run(staged, "ansible-galaxy", "collection", "build", "--force", "--output-path", str(out))
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


def sanity(staged: Path) -> None:
    """Run ansible-test's sanity checks; none is left out.

    Args:
        staged: The collection.
    """
    shim = _GET_PIP.expanduser()
    if not shim.exists():
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.write_text(_SHIM, encoding="utf-8")
    command = [str(_PROGRAMS / "ansible-test"), "sanity", "--venv", "--python", "3.11"]
    raise SystemExit(subprocess.run(command, cwd=staged, env=_environment()).returncode)


def lint(staged: Path) -> None:
    """Hold the examples in the modules' documentation to ansible-lint's strictest profile.

    ansible-lint reads such examples only for their YAML, so each module's become a play here.

    Args:
        staged: The collection.
    """
    plays = staged / "playbooks"
    plays.mkdir()
    for module in sorted((staged / "plugins/modules").glob("*.py")):
        play = {
            "name": f"Examples of {module.stem}",
            "hosts": "all",
            "tasks": yaml.safe_load(_assigned(module, "EXAMPLES")),
        }
        text = yaml.safe_dump(
            [play], sort_keys=False, explicit_start=True, default_flow_style=False
        )
        # PyYAML does not indent lists as ansible-lint wants; the examples' own YAML is checked by
        # ansible-test.
        (plays / f"{module.stem}.yml").write_text(text, encoding="utf-8")
    _run(
        staged,
        *("ansible-lint", "--offline", "--profile", "production", "--skip-list", "yaml"),
        *(str(play) for play in sorted(plays.glob("*.yml"))),
        path=staged.parents[2],
    )


def _assigned(module: Path, name: str) -> str:
    """Give the text that a module assigns to a name."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise SystemExit(f"{module} has no {name}")


def _run(folder: Path, program: str, *arguments: str, path: Path | None = None) -> str:
    environment = _environment()
    if path is not None:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(path)
    done = subprocess.run(
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
    """Do what the command line asks for, in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["build", "lint", "sanity"])
    command = {"build": build, "lint": lint, "sanity": sanity}[parser.parse_args().command]
    with tempfile.TemporaryDirectory(prefix="influxops-collection-") as folder:
        command(stage(Path(folder).resolve()))


if __name__ == "__main__":
    main()
