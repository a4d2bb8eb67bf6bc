"""Clients that write, in processes of their own, and what each of them says of one write."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests import clients
from tests.integration.command import STUCK
from tests.routes.nginx import DOCS

#: What puts an end to what keeps a client from its server; None where nothing does.
Mend = Callable[[], None] | None


@dataclass(frozen=True)
class Writing:
    """Where to write."""

    url: str
    database: str
    token: str
    #: The certificate of the proxy; the servers have none.
    authority: Path
    folder: Path
    #: The path of version 3 instead of that of version 2, which is what clients use of themselves.
    is_version_3: bool = False
    #: Telegraf's, in the times of lines; empty for its own choice.
    precision: str = "1ns"

    @property
    def is_proxied(self) -> bool:
        return self.url.startswith("https")


#: Writes lines, mends once the client says that it tries again, or has ended, and gives its words.
Client = Callable[[Writing, str, Mend], str]


def _bare(path: str, parameter: str) -> Client:
    def write(at: Writing, lines: str, mend: Mend) -> str:
        query = urlencode({parameter: at.database, "precision": "ns"})
        with urllib3.PoolManager(ca_certs=str(at.authority), retries=False) as pool:
            try:
                answer = pool.request(
                    "POST",
                    f"{at.url}{path}?{query}",
                    body=lines.encode(),
                    headers={"Authorization": f"Bearer {at.token}"},
                )
            except urllib3.exceptions.NewConnectionError:
                return "no connection"
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return f"{answer.status} `{json.loads(answer.data)['code']}`"
        return f"{answer.status}"

    return write


_PYTHON = """
import json, sys
sys.path.append(sys.argv[1])
from influxdb_client_3 import InfluxDBClient3, SYNCHRONOUS, WriteOptions, write_client_options

def say(*words):
    print(*words, flush=True)

def named(error):
    response = getattr(error, "response", None)
    status = f" {response.status}" if response is not None else ""
    return f"`{type(error).__name__}`{status}"

callbacks = {
    "success_callback": lambda conf, data: say("success"),
    "error_callback": lambda conf, data, error: say("error", named(error)),
    "retry_callback": lambda conf, data, error: say("retry", named(error))}
for line in sys.stdin:
    asked = json.loads(line)
    options = {"write_options": SYNCHRONOUS}
    if sys.argv[2] == "batching":
        batching = WriteOptions(  # it is flushed when it is closed
            flush_interval=60_000, retry_interval=300, max_retries=asked["retries"])
        options = {"write_options": batching, **callbacks}
    client = InfluxDBClient3(
        host=asked["url"], token=asked["token"], database=asked["database"],
        ssl_ca_cert=asked["authority"], write_client_options=write_client_options(**options))
    try:
        client.write(asked["lines"], use_v2_api=not asked["v3"])
        say("returns")
        client.close()
    except Exception as error:
        say("raises", named(error))
    say("end")
"""
_NODE = """
const {InfluxDBClient} = require("@influxdata/influxdb3-client");
const lines = require("readline").createInterface({input: process.stdin});
(async () => {
  for await (const line of lines) {
    const asked = JSON.parse(line);
    const client = new InfluxDBClient({host: asked.url, token: asked.token});
    try {
      await client.write(asked.lines, asked.database, undefined, {noSync: asked.v3});
      console.log("resolves");
    } catch (error) {
      const name = error.statusCode ? error.name : error.code;
      console.log("rejects", "`" + name + "`", error.statusCode || "");
    }
    await client.close();
    console.log("end");
  }
})();
"""


@contextlib.contextmanager
def _talking(command: list[str], **options: Any) -> Iterator[Client]:
    """Run a script that takes writes, each in a line of JSON, and says in lines how they go."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdin and process.stdout
    given, said = process.stdin, process.stdout

    def write(at: Writing, lines: str, mend: Mend) -> str:
        asked = {
            "url": at.url,
            "database": at.database,
            "token": at.token,
            "authority": str(at.authority),
            "lines": lines,
            "retries": 10 if mend else 1,
            "v3": at.is_version_3,
        }
        given.write(json.dumps(asked) + "\n")
        given.flush()
        words: list[str] = []
        for line in _until_stuck(process, said):
            if line == "end":
                return ", ".join(words)
            words += [line] if line not in words else []
            if line.startswith("retry") and mend:
                mend()
                mend = None
        raise AssertionError(f"{command[0]} ended after {words}")

    try:
        yield write
    finally:
        given.close()
        process.wait(STUCK)
        said.close()


def _until_stuck(process: subprocess.Popen[str], said: Any) -> Iterator[str]:
    """Yield the lines of a process, which is killed when it takes too long."""
    timer = threading.Timer(STUCK, process.kill)
    timer.start()
    try:
        for line in said:
            yield line.strip()
    finally:
        timer.cancel()


def _python(kind: str) -> contextlib.AbstractContextManager[Client]:
    return _talking([sys.executable, "-c", _PYTHON, str(clients.python_client()), kind])


def _node(authority: Path) -> contextlib.AbstractContextManager[Client]:
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)}
    return _talking(["node", "-e", _NODE], cwd=clients.node_client(), env=env)


def _telegraf(at: Writing, lines: str, *options: str) -> subprocess.Popen[str]:
    """Start Telegraf with lines that it reads once, and the output of docs/routing.md."""
    program = clients.telegraf()
    (at.folder / "points").write_text(lines)
    output = f'[[outputs.influxdb_v2]]\nurls = ["{at.url}"]\nbucket = "{at.database}"\n'
    output += 'token = "$INFLUX_TOKEN"\n'
    if at.is_proxied:
        (found,) = re.findall(r"```toml\n(\[\[outputs.*?)```", DOCS.read_text(), re.S)
        output = found.replace("https://proxy.example:8443", at.url)
        output += f'tls_ca = "{at.authority}"\n[global_tags]\ndatabase = "{at.database}"\n'
    config = at.folder / "telegraf.conf"
    config.write_text(
        '[agent]\ninterval = "1h"\nround_interval = false\nflush_interval = "200ms"\n'
        f'precision = "{at.precision or "0s"}"\n'
        f'omit_hostname = true\n[[inputs.file]]\nfiles = ["{at.folder}/points"]\n'
        f'data_format = "influx"\n{output}'
    )
    return subprocess.Popen(
        [str(program), "--debug", "--config", str(config), *options],
        stderr=subprocess.PIPE,
        env={**os.environ, "INFLUX_TOKEN": at.token},
        text=True,
    )


def _telegraf_once(at: Writing, lines: str, mend: Mend) -> str:
    process = _telegraf(at, lines, "--once")
    process.communicate(timeout=STUCK)
    return f"ends with {process.returncode}"


#: What it says of a write that it keeps, once itself and then twice as what runs it.
_FAILED = re.compile(r"ailed to write .*?[(:] ?(\d{3})\b|dial tcp .*(connection refused)")


def _telegraf_runs(at: Writing, lines: str, mend: Mend) -> str:
    process = _telegraf(at, lines)
    failed: list[str] = []
    try:
        for line in _until_stuck(process, process.stderr):
            if "[inputs.file] Error in plugin" in line:
                return "does not read it"
            if found := re.search(r"will be dropped: \d+|not all metrics have been sent", line):
                return f"“{found[0]}”"
            if "Wrote batch" in line:
                return f"keeps it ({failed[0]})" if failed else "writes it"
            if "riting to" in line or not (found := _FAILED.search(line)):
                continue
            failed.append(found[1] or found[2])
            if mend and len(failed) == 1:
                mend()
            elif not mend and len(failed) > 1:
                return f"keeps it ({failed[0]})"
        raise AssertionError(f"Telegraf is stuck after {failed}")
    finally:
        process.terminate()
        process.communicate(timeout=STUCK)


#: The clients, as a table calls them.
CLIENTS: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Client]]] = {
    "v3 `write_lp`": lambda _: contextlib.nullcontext(_bare("/api/v3/write_lp", "db")),
    "v2 `write`": lambda _: contextlib.nullcontext(_bare("/api/v2/write", "bucket")),
    "Telegraf": lambda _: contextlib.nullcontext(_telegraf_runs),
    "Telegraf `--once`": lambda _: contextlib.nullcontext(_telegraf_once),
    "Python": lambda _: _python("synchronous"),
    "Python, batching": lambda _: _python("batching"),
    "Node": _node,
}
