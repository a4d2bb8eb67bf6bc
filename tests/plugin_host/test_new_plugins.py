"""`influxops plugins new`: what it writes is installed by pip, listed, tested and used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.integration.command import Cli
from tests.plugin_host.environment import PYTHON, Environment, run

# pip builds and installs it as anybody would, which takes its time.
pytestmark = pytest.mark.clients

ROLES = ("source", "target", "reporter")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each role."""
    folder = tmp_path_factory.mktemp("made")
    for role in ROLES:
        run([PYTHON, "-m", "influxops", "plugins", "new", f"my-{role}", "--role", role], folder)
    return folder


@pytest.fixture(scope="module")
def python(folder: Path) -> Environment:
    """An environment in which pip has installed all of them at once."""
    return Environment.make(folder / "venv", *(folder / f"influxops-my-{role}" for role in ROLES))


def test_pip_installs_them_and_influxops_lists_them(python: Environment) -> None:
    listed = json.loads(python("influxops", "plugins", "--format", "json"))
    rows = {row["kind"]: row for row in listed}
    for role in ROLES:
        row = rows[f"my-{role}"]
        assert row == {
            "kind": f"my-{role}",
            "serves as": role,
            "from": f"influxops-my-{role} 0.1.0",
            "state": "ok",
        }


@pytest.mark.parametrize("role", ROLES)
def test_its_own_tests_pass_as_it_was_written(python: Environment, folder: Path, role: str) -> None:
    shown = python("pytest", "-q", "-W", "error", cwd=folder / f"influxops-my-{role}")
    assert " passed" in shown
    assert "failed" not in shown


@pytest.mark.parametrize("role", ROLES)
def test_its_configuration_and_its_ci_file_are_in_order(
    python: Environment, folder: Path, role: str
) -> None:
    made = folder / f"influxops-my-{role}"
    assert "no mistake" in python("influxops", "config", "--check", cwd=made)
    (job,) = yaml.safe_load((made / ".github/workflows/test.yml").read_text())["jobs"].values()
    assert {"run": "pytest"} in job["steps"]
    assert "@" not in (made / "README.md").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_its_code_is_formatted_and_without_a_fault(folder: Path, role: str) -> None:
    ruff = str(Path(PYTHON).parent / "ruff")
    where = folder / f"influxops-my-{role}"
    run([ruff, "format", "--isolated", "--check", "--line-length", "100", "."], where)
    run([ruff, "check", "--isolated", "--select", "E4,E7,E9,F,I,UP,D1", "."], where)


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


def test_choices_of_an_option_that_is_missing_are_readable(cli: Cli) -> None:
    done = cli("plugins", "new", "crm")
    assert done.code == 2
    assert [line.strip(" ,") for line in done.err.splitlines()[-3:]] == [*ROLES]
    record = cli("plugins", "new", "crm", "--log-format", "json").err
    assert json.loads(record)["message"].endswith("Choose from: source, target, reporter")
