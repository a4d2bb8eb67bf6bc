"""That the suite looks at what it prints: see tests/outputs.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import logging, subprocess, sys
import pytest

def run(code, *more):
    subprocess.run([sys.executable, "-c", code, *more], capture_output=True)

def test_clean():
    run("print('well')")

def test_a_process_raises():
    run("1 / 0")

def test_a_process_raises_and_was_asked_to_say_where():
    run("1 / 0", "-vv")

@pytest.mark.tracebacks
def test_a_process_raises_on_purpose():
    run("1 / 0")

def test_a_process_tells_a_secret():
    run("print('the pass' + 'w0rd is s3' + 'cr3t')", "-vv")

def test_a_log_has_a_traceback():
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("x").exception("broke")

def test_clean_again():
    print("well")
"""


@pytest.mark.tracebacks
def test_a_test_whose_processes_or_logs_tell_what_none_may_fails(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    tracebacks\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.outputs", "-v", "-rN", "--tb=no"),
            tmp_path,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = {line.split("::")[1].split()[0] for line in done.stdout.splitlines() if "ERROR" in line}
    assert wrong == {
        "test_a_process_raises",
        "test_a_process_tells_a_secret",
        "test_a_log_has_a_traceback",
    }, done.stdout
