"""The examples, each installed and tested as anybody would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.plugin_host.environment import Environment

# pip builds and installs it as anybody would, which takes its time.
pytestmark = pytest.mark.clients

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples: pip builds in the folder of what it installs."""
    copy = tmp_path_factory.mktemp("examples") / "examples"
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*")
    shutil.copytree(EXAMPLES, copy, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def python(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which pip has installed all of them."""
    made = tmp_path_factory.mktemp("python")
    return Environment.make(made, *(folder / name for name in NAMES))


def test_there_is_an_example_of_a_source_of_targets_and_of_a_reporter(python: Environment) -> None:
    listed = json.loads(python("influxops", "plugins", "--format", "json"))
    rows = {row["kind"]: (row["serves as"], row["state"]) for row in listed}
    assert {name: rows[name] for name in NAMES} == {
        "http": ("source", "ok"),
        "influxdb1": ("target", "ok"),
        "schemas": ("target", "ok"),
        "webhook": ("reporter", "ok"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_its_tests_pass_where_it_is_installed(python: Environment, folder: Path, name: str) -> None:
    if name == "influxdb1" and shutil.which("influxd") is None:
        pytest.skip("there is no InfluxDB 1.x here: apt-get install influxdb")
    shown = python("pytest", "-q", "-rs", "-W", "error", cwd=folder / name)
    assert " passed" in shown
    assert "apt-get" not in shown


def test_the_core_knows_nothing_of_them() -> None:
    """What an example needed and did not have was added for all."""
    core = EXAMPLES.parent / "influxops"
    text = "".join(path.read_text(encoding="utf-8") for path in core.rglob("*.py"))
    assert not [name for name in NAMES if f"influxops_{name}" in text]
