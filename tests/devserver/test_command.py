from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import pytest

from influxops.plugin.cli import how_to_install
from influxops_devserver.cli import command
from influxops_devserver.testing import StandInFailed, running_stand_in
from tests.devserver.api import Api


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command, after some code, and waits for its end."""
    program = f"{code}\nfrom influxops_devserver.cli import command\ncommand()"
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
    arguments = [sys.executable, "-m", "influxops_devserver.cli", "--port", "0", "--with-auth"]
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
    ended = run(code=f"import sys; sys.modules[{module!r}] = None")
    assert ended.returncode == 2
    said = f"Error: dev-server needs {module}, not installed: {how_to_install('demo')}\n"
    assert ended.stderr == said


def test_importing_the_command_imports_nothing_heavy() -> None:
    program = (
        "import sys, influxops_devserver.cli as d, influxops_devserver.testing as t\n"
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
        ("--gen1-duration", "soon"),
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
            "wal_flush_interval": 10**9,
            "wal_snapshot_size": 600,
            "gen1_duration": 600 * 10**9,
            "query_file_limit": 432,
            "unreadable_table": None,
            "with_auth": False,
            "until_stdin_ends": False,
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


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"url": "file:///a b/c", "dir_info": {"editable": True}}, "pip install -e '/a b/c[demo]'"),
        (
            {"url": "file:///x/influxops-1.whl", "archive_info": {}},
            "pip install 'influxops[demo] @ file:///x/influxops-1.whl'",
        ),
        (None, "pip install '.[demo]' in a checkout of influxops"),
    ],
)
def test_the_extra_is_installed_from_where_the_user_has_influxops(
    monkeypatch: pytest.MonkeyPatch, origin: dict[str, object] | None, command: str
) -> None:
    noted = None if origin is None else json.dumps(origin)
    monkeypatch.setattr("importlib.metadata.PathDistribution.read_text", lambda *_: noted)
    assert how_to_install("demo") == command


def test_a_stand_in_ends_with_the_process_that_runs_it_however_that_is_killed() -> None:
    program = (
        "import sys\nfrom influxops_devserver.testing import running_stand_in\n"
        "with running_stand_in() as stand_in:\n"
        "    print(stand_in.url, flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        url = runner.stdout.readline().strip()
        connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 30)
        runner.kill()
    with connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""  # Closed by its end; a living server sends nothing.


def test_where_sigint_is_ignored_a_stand_in_ends_all_the_same() -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from influxops_devserver.testing import running_stand_in\n"
        "with running_stand_in() as stand_in:\n"
        "    stand_in.process.send_signal(signal.SIGINT)\n"
        "    raise SystemExit(stand_in.process.wait(30))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
