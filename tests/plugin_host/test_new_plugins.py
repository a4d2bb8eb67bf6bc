"""`influxops plugins new`: what it writes is installed by pip, listed, tested and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.integration.command import Cli

ROLES = ("source", "target", "reporter")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each role, and an environment in which pip installed them."""
    folder = tmp_path_factory.mktemp("made")
    for role in ROLES:
        program(
            [sys.executable, "-m", "influxops"],
            folder,
            "plugins",
            "new",
            f"my-{role}",
            "--role",
            role,
        )
    venv.create(folder / "venv")
    # pip and all that influxops needs come from here, so that nothing is downloaded.
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "outside.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    new = [f"./influxops-my-{role}" for role in ROLES]
    options = (
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
    )
    program([str(folder / "venv/bin/python"), "-m", "pip"], folder, "install", *options, *new)
    return folder


def program(command: list[str], folder: Path, *arguments: str) -> str:
    """Run a program in a folder to its end; return what it printed."""
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def influxops(made: Path, *arguments: str) -> str:
    return program([str(made / "venv/bin/python"), "-m", "influxops"], made, *arguments)


def test_pip_installs_them_and_influxops_lists_them(made: Path) -> None:
    rows = {row["kind"]: row for row in json.loads(influxops(made, "plugins", "--format", "json"))}
    for role in ROLES:
        row = rows[f"my-{role}"]
        assert row == {
            "kind": f"my-{role}",
            "serves as": role,
            "from": f"influxops-my-{role} 0.1.0",
            "state": "ok",
        }


@pytest.mark.parametrize("role", ROLES)
def test_its_own_tests_pass_as_it_was_written(made: Path, role: str) -> None:
    folder = made / f"influxops-my-{role}"
    shown = program([str(made / "venv/bin/python"), "-m", "pytest"], folder, "-q", "-W", "error")
    assert " passed" in shown
    assert "failed" not in shown


@pytest.mark.parametrize("role", ROLES)
def test_its_code_is_formatted_typed_and_without_a_fault(made: Path, role: str) -> None:
    folder = made / f"influxops-my-{role}"
    tools = Path(sys.executable).parent
    program(
        [str(tools / "ruff")],
        folder,
        "format",
        "--isolated",
        "--check",
        "--line-length",
        "100",
        ".",
    )
    program(
        [str(tools / "ruff")], folder, "check", "--isolated", "--select", "E4,E7,E9,F,I,UP,D1", "."
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("My Plugin",), "'My Plugin' is no name of a plugin"),
        (("../crm",), "'../crm' is no name of a plugin"),
        (("postgres",), "has a plugin of the kind postgres"),
        (("crm", "--output", "there"), "there exists already"),
        (
            ("crm", "--output", "there/file/crm"),
            "there/file/crm cannot be written: Not a directory",
        ),
        (("crm", "--output", "/proc/crm"), "/proc/crm cannot be written"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    (cli.folder / "there").mkdir()
    (cli.folder / "there" / "file").touch()
    done = cli("plugins", "new", *arguments, "--role", "source")
    assert done.code == 2
    error, hint = done.err.splitlines()
    assert says in error
    assert hint.startswith("influxops: hint: ")
    assert [path.name for path in cli.folder.iterdir()] == ["there"]
