"""The command line in a process of its own for each command, without importing it each time.

A server process imports influxops and its plugins once, has no threads, and forks for each
command. The child is what `influxops` in a new process would be: its arguments, variables, folder
and standard streams are its own, it inherits no other file, and signals do what they do
there. What its start costs and imports is for tests that start `PROGRAM` itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

PROGRAM = Path(sys.executable).with_name("influxops")
STAND_IN = [sys.executable, "-m", "influxops_devserver.cli"]
_PLUGINS = Path(__file__).parents[1] / "plugins"
#: A thread of PyArrow's allocator, which takes care of forks; the server has no other.
_ALLOCATOR = "jemalloc_bg_thd"
_LARGEST = 1 << 17
#: What Python reads when it starts; where it differs from the server's, a new one has to start.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forked(subprocess.Popen[str]):
    """A command that the server has forked; to its test it is as any process that was started."""

    _status: socket.socket

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        program = 1 if args[0] == str(PROGRAM) else len(STAND_IN)
        # As in CPython 3.11 to 3.14, whose arguments these are, in their order.
        cwd, env = rest[4:6]
        # preexec_fn, pass_fds; gid, gids, uid, umask, start_new_session, process_group
        others = (rest[1], tuple(rest[3]), *rest[16:22])
        assert others == (None, (), None, None, None, -1, False, -1), "a fork has none of these"
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        order = json.dumps(
            {
                "is_stand_in": program > 1,
                "arguments": args[program:],
                "cwd": os.fspath(cwd or Path.cwd()),
                "env": dict(env or os.environ),
            }
        ).encode()
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = [
            own if own != -1 else number for number, own in enumerate((p2cread, c2pwrite, errwrite))
        ]
        with theirs:
            _server().give(order, [theirs.fileno(), *streams])
        self.pid = struct.unpack("i", self._status.recv(4))[0]
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _internal_poll(self, *unused: Any, **ignored: Any) -> int | None:
        if self.returncode is None:
            self._wait_for(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and not self._wait_for(timeout):
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _wait_for(self, timeout: float | None) -> bool:
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                poll = select.poll()
                poll.register(self._status, select.POLLIN)
                if not poll.poll(None if timeout is None else max(timeout, 0) * 1000):
                    return False
                told = self._status.recv(4)
                assert told, "the fork server is gone"
                self.returncode = os.waitstatus_to_exitcode(struct.unpack("i", told)[0])
                self._status.close()
        return True


def start_stand_in(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a stand-in, as `influxops_devserver.testing` asks for it."""
    forks = command[: len(STAND_IN)] == STAND_IN
    return (Forked if forks else subprocess.Popen)(command, **options)


def can_fork(env: Mapping[str, str]) -> bool:
    """Return whether a fork with these variables is as a process that is started with them."""
    return _at_start(env) == _at_start(_server().environment)


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class _Server:
    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        self.environment = {**kept, "LANG": "C.UTF-8"}
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)
        if self._orders.recv(1) != b"r":
            raise RuntimeError("the fork server did not start")

    def give(self, order: bytes, files: Sequence[int]) -> None:
        assert len(order) <= _LARGEST
        socket.send_fds(self._orders, [order], files)

    def close(self) -> None:
        self._orders.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


@functools.cache
def _started(pid: int) -> _Server:
    return _Server()


_lock = threading.Lock()


def _server() -> _Server:
    """Return the server of this process, started when it is first asked for."""
    with _lock:
        return _started(os.getpid())


def _serve(orders: socket.socket) -> None:
    _import_all()
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert names <= {Path("/proc/self/comm").read_text().strip(), _ALLOCATOR}, names
    # Objects of the imports are nothing that a child's collector has to look at.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is not for it
    with selectors.DefaultSelector() as waits:
        waits.register(orders, selectors.EVENT_READ)
        orders.send(b"r")
        while True:
            for key, _ in waits.select():
                if key.fileobj is not orders:
                    waits.unregister(key.fileobj)
                    child, status = key.data
                    os.close(key.fd)
                    with status, contextlib.suppress(OSError):
                        status.send(struct.pack("i", os.waitpid(child, 0)[1]))
                    continue
                order, files, _, _ = socket.recv_fds(orders, _LARGEST, 4)
                if not order:
                    return
                with contextlib.ExitStack() as streams:
                    for file in files[1:]:
                        streams.callback(os.close, file)
                    status = socket.socket(fileno=files[0])
                    # One that comes before the child can take it waits until then.
                    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
                    child = os.fork()
                    if child == 0:
                        others = [each.fd for each in waits.get_map().values()]
                        others += [
                            each.data[1].fileno() for each in waits.get_map().values() if each.data
                        ]
                        _run(json.loads(order), files, [waits.fileno(), *others])
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
                    status.send(struct.pack("i", child))
                    waits.register(os.pidfd_open(child), selectors.EVENT_READ, (child, status))


def _import_all() -> None:
    packages = sorted(path.name for path in _PLUGINS.glob("influxops_*"))
    for package in ("influxops", *packages):
        (folder, *_) = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages([folder], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _run(order: dict[str, Any], files: Sequence[int], others: Sequence[int]) -> NoReturn:
    """Be the command, in the child."""
    code = 1
    try:
        for number, file in enumerate(files[1:]):
            os.dup2(file, number)
        for file in {*files, *others} - {0, 1, 2}:
            os.close(file)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        time.tzset()
        _open_streams()
        sys.argv = [str(PROGRAM), *order["arguments"]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
        code = _command(order["is_stand_in"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _command(is_stand_in: bool) -> int:
    """Run the command and what Python does at its end; return the exit code."""
    from influxops.cli.main import main
    from influxops_devserver.cli import command

    try:
        (command if is_stand_in else main)()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = 120
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    return code


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, f"__{name}__")
        raw = open(number, "wb" if number else "rb", buffering=0, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw) if number else io.BufferedReader(raw),
            encoding=before.encoding,
            errors=before.errors,
            newline=None if number else "\n",
            line_buffering=number == 2 or raw.isatty(),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    # What a console script has before the modules of Python.
    sys.path[0] = str(PROGRAM.parent)
    _serve(socket.socket(fileno=int(sys.argv[1])))
