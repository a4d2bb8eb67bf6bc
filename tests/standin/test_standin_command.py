from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from influxops_demo.devserver import command
from influxops_demo.testing import StandInFailed, running_stand_in
from tests.standin.api import Api


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command, after some code, and waits for its end."""
    program = f"{code}\nfrom influxops_demo.devserver import command\ncommand()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_cleanly(name: str) -> None:
    with running_stand_in() as stand_in:
        # A connection that is kept alive does not keep the server alive.
        assert Api(stand_in.url).send("GET", "/health").status == 200
        stand_in.process.send_signal(getattr(signal, name))
        assert stand_in.process.wait(15) == 0


def test_it_says_what_it_is_and_how_to_use_it() -> None:
    arguments = [sys.executable, "-m", "influxops_demo.devserver", "--port", "0", "--with-auth"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "Ready: " not in said:
            line = process.stdout.readline()
            assert line
            said += line
        process.terminate()
    url = re.findall(r"Ready: (\S+)", said)[0]
    assert "stand-in for InfluxDB 3" in said
    assert "It is not InfluxDB." in said
    assert f"export INFLUXDB_URL={url}" in said
    assert f"curl -X POST {url}/api/v3/configure/token/admin" in said


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 2
    expected = f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another"
    assert ended.stderr.startswith(expected)
    assert len(ended.stderr.splitlines()) == 1


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    ended = run("--port", "0", "--host", "192.0.2.1")
    assert ended.returncode == 2
    assert re.fullmatch(r"Error: cannot listen on 192\.0\.2\.1:0: .*\n", ended.stderr)


@pytest.mark.parametrize("module", ["datafusion", "pyarrow", "starlette", "uvicorn"])
def test_a_missing_extra_is_one_clear_line(module: str) -> None:
    hidden = (
        "import sys, importlib.abc\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError('hidden', name=name)\n"
        "sys.meta_path.insert(0, Hidden())"
    )
    ended = run(code=hidden)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"Error: dev-server needs {module}, which is not installed: pip install 'influxops[demo]'\n"
    )


def test_importing_the_command_imports_nothing_heavy() -> None:
    program = (
        "import sys, influxops_demo.devserver as d, influxops_demo.testing as t\n"
        "heavy = {'datafusion', 'pyarrow', 'starlette', 'uvicorn', 'asyncio'}\n"
        "assert d and t and not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-databases", "-1"),
        ("--max-tables", "many"),
        ("--wal-flush-interval", "1 parsec"),
        ("--wal-flush-interval", "0s"),
        ("--port", "70000"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str, value: str) -> None:
    ended = run(option, value)
    assert ended.returncode == 2
    assert f"Invalid value for '{option}'" in ended.stderr


@pytest.mark.parametrize("value", ["0", "unlimited"])
def test_no_limit_can_be_asked_for(value: str) -> None:
    with command.make_context("dev-server", ["--max-databases", value]) as context:
        assert context.params["max_databases"] is None
        assert context.params["max_tables"] == 2_000


def test_the_defaults_are_those_of_a_real_core() -> None:
    with command.make_context("dev-server", []) as context:
        assert context.params == {
            "host": "127.0.0.1",
            "port": 8181,
            "data_dir": None,
            "max_databases": 5,
            "max_tables": 2_000,
            "wal_flush_interval": 1.0,
            "with_auth": False,
        }


def test_the_helper_says_why_a_stand_in_did_not_start() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(StandInFailed, match="ended with 2: Error: cannot listen on"),
        running_stand_in(port=taken.getsockname()[1]),
    ):
        pass


def test_the_helper_listens_where_it_is_told_and_ends_with_the_block() -> None:
    with running_stand_in() as stand_in:
        assert stand_in.url == f"http://127.0.0.1:{stand_in.port}"
        port = stand_in.port
    assert stand_in.process.poll() == 0
    with running_stand_in(port=port) as again:
        assert again.port == port
