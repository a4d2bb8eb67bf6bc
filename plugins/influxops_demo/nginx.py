"""nginx with the configuration of docs/routing.md, on this machine alone and without TLS."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import urllib3

from influxops.plugin import ConfigError, InfluxopsError

#: Seconds that it has to start.
_STARTUP = 20.0


def program() -> str:
    """Return nginx's program.

    Raises:
        ConfigError: When there is none.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError("`--routing` needs nginx, not installed: apt-get install nginx")
    return found


@contextlib.contextmanager
def running_nginx(folder: Path, log_lines: str) -> Iterator[str]:
    """Run it in a folder that has `influxops-routes.conf`; yield its URL.

    `log_lines` stand in the place of `access_log off;`.
    """
    page = files("influxops").joinpath("docs", "routing.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```nginx\n(worker_processes.*?)```", page, re.S)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = re.sub(r"(?m)^ +ssl_.*\n", "", text.replace("8443 ssl", f"127.0.0.1:{port}"))
    text = text.replace("access_log off;", log_lines)
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    command = [program(), *options(folder), "-g", f"daemon off; {_pid(folder)}"]
    # It ends with the pipe, which the system closes should this process be killed.
    with subprocess.Popen(
        ["/bin/sh", "-c", '"$@" & read -r _; kill $!; wait', "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        _wait(url, folder)
        yield url


def options(folder: Path) -> list[str]:
    """Return the options that say where all of it is."""
    return ["-p", f"{folder}", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]


def reload(folder: Path) -> list[str]:
    """Return the command that has it read its files again."""
    return [program(), *options(folder), "-g", _pid(folder), "-s", "reload"]


def _pid(folder: Path) -> str:
    return f"pid {folder}/nginx.pid;"


def _wait(url: str, folder: Path) -> None:
    log, end = folder / "error.log", time.monotonic() + _STARTUP
    while time.monotonic() < end and not (log.exists() and "[emerg]" in log.read_text()):
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            urllib3.request("GET", url, retries=False, timeout=2)
            return
        time.sleep(0.05)
    said = log.read_text(errors="replace").strip() if log.exists() else ""
    raise InfluxopsError(f"nginx does not start: {said.splitlines()[-1] if said else 'no answer'}")
