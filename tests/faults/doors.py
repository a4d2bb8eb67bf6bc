"""The doors: what is called while faults happen, and what each of them said."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from tests.faults.check import PREFIX, Told
from tests.integration.command import Cli

ROOT = Path(__file__).parents[2]
_MODULE = f"""
import ansible.module_utils as utils, runpy
utils.__path__.append({str(ROOT / "ansible/module_utils")!r})
runpy.run_path({str(ROOT / "ansible/library/influx_tenant_db.py")!r}, run_name="__main__")
"""
_LINE = re.compile(rf"^OK {PREFIX}(\S+?)(?::.*)?$", re.M)
#: Seconds after which a call counts as stuck.
STUCK = 90.0


@dataclass
class Call:
    """One call of a door."""

    door: str
    what: str
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    code: int | None = None  # 0 where it said that all is well
    is_killed: bool = False  # by us


class Said:
    """What doors have said: to the checker, and to the search for tracebacks and secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock, self._number = folder, threading.Lock(), 0
        folder.mkdir()
        self.told: list[Told] = []
        self.told_gone: list[Told] = []
        self.stored: list[str] = []
        self.calls: list[Call] = []
        self.odd: list[str] = []  # what no door may say, whatever happens

    def path(self, name: str) -> Path:
        with self._lock:
            self._number += 1
            return self.folder / f"{self._number:05}-{re.sub('[^a-z0-9-]', '-', name)[:40]}"

    def there(self, tenant: str, by: str, target: str = "") -> None:
        with self._lock:
            self.told.append(Told(tenant, by, target or "", time.monotonic()))

    def gone(self, tenant: str, by: str) -> None:
        with self._lock:
            self.told_gone.append(Told(tenant, by, "", time.monotonic()))

    def add(self, call: Call) -> Call:
        with self._lock:
            self.calls.append(call)
        return call

    def texts(self) -> Iterable[tuple[str, str]]:
        for path in sorted(self.folder.iterdir()):
            yield path.name, path.read_text(errors="replace")


class Commands:
    """The command line and the Ansible module, in a process for each call."""

    def __init__(self, cli: Cli, said: Said) -> None:
        self.cli, self.said = cli, said
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def kill_one(self, choose: Callable[[Sequence[Any]], Any]) -> bool:
        """Kill one of those that run; return whether there was one."""
        with self._lock:
            running = [each for each in self._running if each.poll() is None]
            if not running:
                return False
            process = choose(running)
            process.is_killed_by_us = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            return True

    def run(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        out: str = "",
        kill_after: float | None = None,
        program: Sequence[str] = (),
        stdin: str = "",
        everybody: Sequence[str] = (),
    ) -> Call:
        """Run one, note what it said, and return how it ended.

        Args:
            *arguments: Its arguments.
            env: Further variables.
            out: A file to write to; `-` for a standard output that is closed.
            kill_after: Seconds after which it is killed.
            program: What to start instead of influxops.
            stdin: What it reads.
            everybody: Tenants that have their database where it ends with 0.
        """
        door = "Ansible" if program else "CLI"
        what = "influx_tenant_db" if program else " ".join(arguments[:2])
        call = self.said.add(Call(door, what))
        path = self.said.path(what)
        out_path = path.with_suffix(".out")
        if out == "-":
            program = ["/bin/sh", "-c", 'exec "$0" "$@" >&-', str(ROOT / ".venv/bin/influxops")]
        target = Path(out) if out not in ("", "-") else out_path
        in_path = path.with_suffix(".in") if stdin else Path(os.devnull)
        if stdin:
            in_path.write_text(stdin)
        with (
            target.open("w") as stdout,
            path.with_suffix(".err").open("w") as stderr,
            in_path.open() as reads,
            self.cli.start(
                arguments, env, stdout.fileno(), stderr.fileno(), program, reads.fileno()
            ) as process,
        ):
            with self._lock:
                self._running.add(process)
            try:
                try:
                    process.wait(STUCK if kill_after is None else kill_after)
                except subprocess.TimeoutExpired:
                    if kill_after is None:
                        self.said.odd.append(f"{path.name}: {what} is stuck")
                    call.is_killed = True
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                    process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
        call.is_killed = call.is_killed or hasattr(process, "is_killed_by_us")
        call.code, call.ended = process.returncode, time.monotonic()
        text = out_path.read_text(errors="replace") if target == out_path and not out else ""
        if target == out_path and not out:
            self._read(call, path.name, arguments, text)
        elif call.code == 0 and out != "-":  # what was closed on purpose may say nothing
            self.said.odd.append(f"{path.name}: {what} could not write, and ended with 0")
        if call.code == 0:
            for tenant in everybody:
                self.said.there(tenant, f"{path.name}: exit code 0")
        return call

    def ansible(self, config: Path, everybody: Sequence[str], **parameters: Any) -> Call:
        """Run the module as Ansible does: its parameters in, a document out."""
        given = {"config": str(config), "state": "present", "details": "all", **parameters}
        stdin = json.dumps({"ANSIBLE_MODULE_ARGS": given})
        program = [sys.executable, "-c", _MODULE]
        return self.run(program=program, stdin=stdin, everybody=everybody)

    def _read(self, call: Call, name: str, arguments: Sequence[str], text: str) -> None:
        """Note what was said; a killed one may have said a part of it."""
        command = arguments[0] if arguments else ""
        if call.door == "CLI" and "json" not in arguments:
            if command in ("ensure", "move", "adopt"):
                for tenant in _LINE.findall(text):
                    self.said.there(tenant, f"{name}: {command}")
            return
        try:
            document = json.loads(text)
        except ValueError:
            if not call.is_killed and not (call.code == 2 and not text):
                self.said.odd.append(f"{name}: {call.what} ended with {call.code}, and no JSON")
            return
        if call.door == "Ansible":
            for each in document.get("databases", []):
                if each["status"] in ("ok", "changed"):
                    self.said.there(each["tenant"], f"{name}: Ansible", each["target"])
        elif command == "where":
            if document.get("state") == "ready":
                self.said.there(document["tenant"], f"{name}: where", document["target"])
        elif command == "status":
            for each in document.get("tenants", []):
                if each["exists"] and each["marker"] is True:
                    self.said.there(each["tenant"], f"{name}: status", each["target"])
        elif command in ("ensure", "move", "adopt", "plan") and "tenants" in document:
            for each in document["tenants"]:
                if each["status"] == "ok" or (each["status"] == "changed" and command != "plan"):
                    self.said.there(each["tenant"], f"{name}: {command}", each["target"])
                record = each["ledger"]
                if record and record["state"] == "lost":
                    self.said.gone(each["tenant"], f"{name}: {command}")


class Keeper:
    """A process that is to run all the time, and is started again after it was killed."""

    def __init__(self, commands: Commands, name: str, arguments: Sequence[str]) -> None:
        self.commands, self.name, self.arguments = commands, name, arguments
        self.process: subprocess.Popen[str] | None = None
        self.program: Sequence[str] = ()
        self.lock = threading.RLock()

    def start(self) -> None:
        """Start it, where it does not run."""
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                return
            self.close()
            path = self.commands.said.path(self.name)
            with path.with_suffix(".err").open("w") as err:
                self.process = self.commands.cli.start(
                    self.arguments,
                    None,
                    subprocess.PIPE,
                    err.fileno(),
                    self.program,
                    subprocess.PIPE,
                )

    def close(self) -> None:
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

    def kill(self) -> bool:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                return False
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            return True

    def signal(self, number: int) -> None:
        with self.lock, contextlib.suppress(ProcessLookupError):
            if self.process is not None and self.process.poll() is None:
                os.kill(self.process.pid, number)

    def stop(self) -> None:
        """End it as a user does; it has to end."""
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(40)
                except subprocess.TimeoutExpired:
                    self.commands.said.odd.append(f"{self.name} does not end after SIGTERM")
                    self.kill()
            self.close()


class Application(Keeper):
    """A process with a `Provisioner`."""

    def __init__(self, commands: Commands) -> None:
        super().__init__(commands, "application", ())
        self.program = [sys.executable, str(Path(__file__).with_name("application.py"))]

    def ensure(self, tenants: Sequence[str]) -> Call:
        call = self.commands.said.add(Call("Provisioner", "ensure_many"))
        with self.lock:
            self.start()
            process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        line = ""
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(" ".join(tenants) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        call.ended = time.monotonic()
        if not line.endswith("\n"):
            call.is_killed = True
            return call
        for tenant, (status, target, reason) in json.loads(line).items():
            if status in ("existing", "created"):
                self.commands.said.there(tenant, "Provisioner", target)
            else:
                call.code = 1
            del reason
        call.code = call.code or 0
        return call


class Service(Keeper):
    """`influxops serve`."""

    def __init__(self, commands: Commands, port: int, token: str) -> None:
        super().__init__(commands, "serve", ["serve", "--port", str(port)])
        self.url, self._token = f"http://127.0.0.1:{port}", token

    def wait(self) -> None:
        """Wait until it listens."""
        assert self.process is not None and self.process.stdout is not None
        assert self.process.stdout.readline().startswith("listening"), "the service does not start"

    def create(self, tenant: str) -> Call:
        body = {"tenant_id": tenant, "name": tenant}
        return self._ask("POST", "/operator/tenants", tenant, body)

    def ensure(self, tenant: str) -> Call:
        return self._ask("POST", f"/operator/tenants/{tenant}/ensure", tenant, None)

    def _ask(self, method: str, path: str, tenant: str, body: Any) -> Call:
        said = self.commands.said
        call = said.add(Call("service", f"{method} {path.replace(tenant, 'ID')}"))
        self.start()
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            answer = urllib3.request(
                method, self.url + path, json=body, headers=headers, retries=False, timeout=60
            )
        except (urllib3.exceptions.HTTPError, OSError):
            call.is_killed, call.ended = True, time.monotonic()
            return call
        call.ended, call.code = time.monotonic(), 1
        with said.path("answer").with_suffix(".json").open("wb") as file:
            file.write(answer.data)
        if answer.status == 201 or (method == "POST" and answer.status == 409):
            said.stored.append(tenant)
        if answer.status in (200, 201):
            document = answer.json()
            if document["influxdb_provisioned"]:
                said.there(tenant, f"service: {call.what}", document.get("target") or "")
                call.code = 0
        elif answer.status not in (404, 409, 429, 503):
            said.odd.append(f"service: {call.what} answered {answer.status}")
        return call


def every(keepers: Iterable[Keeper], number: int) -> None:
    """Send a signal to each."""
    for keeper in keepers:
        keeper.signal(number)
