"""docs/plugins.md as a new author follows it: each command is typed as it is shown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.plugin_host.environment import Environment
from tests.project.blocks import ROOT, blocks

# pip builds and installs it as anybody would, which takes its time.
pytestmark = pytest.mark.clients

PAGE = ROOT / "docs" / "plugins.md"
SHOWN = [block for block in blocks(PAGE) if block.commands]
#: What comes before: an environment, and influxops in it.
BEFORE = 2


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.make(tmp_path_factory.mktemp("python"))


def follow(python: Environment, folder: Path, commands: list[str]) -> str:
    """Type commands into one shell, which stops at the first that fails."""
    kept = {name: os.environ[name] for name in ("TMPDIR", "HOME") if name in os.environ}
    # So that pip takes what is here, and downloads nothing.
    pip = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{python.folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e"],
        input="\n".join(commands),
        cwd=folder,
        env={**kept, **pip, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("number", "fewer"), [(0, 10), (1, 20)], ids=["source", "target"])
def test_what_the_page_shows_works_in_few_commands(
    python: Environment, tmp_path: Path, number: int, fewer: int
) -> None:
    commands = [command for command, _ in SHOWN[number].commands]
    assert len(commands) + BEFORE < fewer
    shown = follow(python, tmp_path, commands)
    assert " passed" in shown
    if number == 1:
        assert "OK telemetry_acme: created" in shown
        made = tmp_path / "influxops-folders" / "databases"
        assert {each.name for each in made.iterdir()} == {"telemetry_acme", "telemetry_globex"}


def test_the_first_try_is_taken_as_the_page_writes_it(python: Environment, tmp_path: Path) -> None:
    code, config = (
        next(block.text for block in blocks(PAGE) if block.text.startswith(start))
        for start in ("# crm.py", "# influxops.toml")
    )
    (tmp_path / "crm.py").write_text(code)
    (tmp_path / "influxops.toml").write_text(config)
    listed = follow(python, tmp_path, ["influxops plugins"])
    (row,) = (line for line in listed.splitlines() if line.startswith("crm"))
    assert row.split() == ["crm", "source", str(tmp_path / "crm.py"), "ok"]
    assert "no mistake" in follow(python, tmp_path, ["influxops config --check"])


def test_the_tests_that_the_page_shows_pass(python: Environment, tmp_path: Path) -> None:
    suite, runner = (
        next(block.text for block in blocks(PAGE) if part in block.text)
        for part in ("import SourceContract", "import Runner")
    )
    follow(python, tmp_path, ["influxops plugins new crm --role source"])
    folder = tmp_path / "influxops-crm"
    (folder / "tests" / "test_crm.py").write_text(suite)
    (folder / "tests" / "test_run.py").write_text(
        "def test_run():\n" + "".join(f"    {line}\n" for line in runner.splitlines())
    )
    assert " passed" in follow(python, folder, ["python -m pytest"])
