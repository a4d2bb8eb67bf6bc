"""The command line in a process of its own for each command, without importing it each time.

A server process imports influxops and its plugins once, has no threads, and forks for each
command. The child is what `influxops` in a new process would be: its arguments, variables, folder
and standard streams are its own, it inherits no other file, and signals do what they do
there. What its start costs and imports is for tests that start `PROGRAM` itself.

It has not imported the stand-in, because a process costs the more to fork the more it holds: that
is forked by another one. A third has imported Ansible, and forks for each `ansible-playbook`. The
modules of a play are forked by the first one: their interpreter is a shell script that tells it of
itself.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.metadata
import io
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

PROGRAM = Path(sys.executable).with_name("influxops")
STAND_IN = [sys.executable, "-m", "influxops_devserver.cli"]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
_ROOT = Path(__file__).parents[1]
_PLUGINS = _ROOT / "plugins"
_STAND_IN = "influxops_devserver"
Kind = Literal["command", "stand-in", "playbook"]
#: What is no command, by its program.
_KINDS: dict[str, Kind] = {STAND_IN[0]: "stand-in", str(PLAYBOOK): "playbook"}
#: What a play finds this checkout's plugins by.
ANSIBLE = {
    "LC_ALL": "C.UTF-8",
    "ANSIBLE_LIBRARY": str(_ROOT / "ansible/library"),
    "ANSIBLE_MODULE_UTILS": str(_ROOT / "ansible/module_utils"),
    "ANSIBLE_LOOKUP_PLUGINS": f"{_ROOT}/ansible/lookup:{_ROOT}/tests/ansible/lookup",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_PIPELINING": "1",
    "ANSIBLE_LOCALHOST_WARNING": "0",
}
#: Is Python to those that start it with a file, or with a program as its input; the server takes
#: orders from a pipe beside it.
_PYTHON = """#!/bin/sh
[ -z "$PYTHONPATH" ] || exec {python} "$@"
here=${{0%/*}}
mkfifo "$here/$$" && exec 3<> "$here/$$" 4<&0 5>&1
echo "$$" > "$here/orders" && read -r code <&3 && exit "$code"
"""
#: What is imported only where it is used.
_LATER = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "click._textwrap",
    "difflib",
    "encodings.idna",
    "tomllib",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
#: A thread of PyArrow's allocator, which takes care of forks; the server has no other.
_ALLOCATOR = "jemalloc_bg_thd"
_LARGEST = 1 << 17
#: What Python reads when it starts, and Ansible when it is imported; where it differs from the
#: server's, a new process has to start.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "ANSIBLE_")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forked(subprocess.Popen[str]):
    """A command that the server has forked; to its test it is as any process that was started."""

    _status: socket.socket

    def _execute_child(self, args: list[str], *rest: Any) -> None:
        program = len(STAND_IN) if args[0] == STAND_IN[0] else 1
        # As in CPython 3.11 to 3.14, whose arguments these are, in their order.
        cwd, env = rest[4:6]
        # preexec_fn, pass_fds; gid, gids, uid, umask, start_new_session, process_group
        others = (rest[1], tuple(rest[3]), *rest[16:22])
        assert others == (None, (), None, None, None, -1, False, -1), "a fork has none of these"
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        order = json.dumps(
            {
                "program": args[:program],
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
            _server(_KINDS.get(args[0], "command")).give(order, [theirs.fileno(), *streams])
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
    # Queries of tests are small: handing them from thread to thread costs more than it gains.
    options["env"] = {**(options.get("env") or os.environ), "TOKIO_WORKER_THREADS": "1"}
    return (Forked if forks else subprocess.Popen)(command, **options)


def python() -> Path:
    """Return an interpreter that is forked for a file, or for what it reads."""
    return _server().python


def can_fork(env: Mapping[str, str], *, is_playbook: bool = False) -> bool:
    """Return whether a fork with these variables is as a process that is started with them."""
    server = _server("playbook" if is_playbook else "command")
    return _at_start(env) == _at_start(server.environment)


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class _Server:
    def __init__(self, kind: Kind, python: Path | None = None) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        self._folder = tempfile.TemporaryDirectory(prefix="influxops-fork-")
        self.environment = {**kept, **(ANSIBLE if python else {"LANG": "C.UTF-8"})}
        #: What it forks modules for, where it is the interpreter.
        self.python = Path(self._folder.name, "python")
        self.python.write_text(_PYTHON.format(python=sys.executable))
        self.python.chmod(0o755)
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), kind, str(python or "")],
                env={**self.environment, "HOME": self._folder.name},
                cwd=self._folder.name,
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
        self._folder.cleanup()


@functools.cache
def _started(pid: int, kind: Kind) -> _Server:
    return _Server(kind, _started(pid, "command").python if kind == "playbook" else None)


_lock = threading.Lock()


def _server(kind: Kind = "command") -> _Server:
    """Return a server of this process, started when it is first asked for."""
    with _lock:
        return _started(os.getpid(), kind)


def _serve(orders: socket.socket, kind: str, python: str) -> None:
    if kind == "stand-in":
        _import_modules(_STAND_IN)
    elif kind == "playbook":
        _import_ansible()
    else:
        _import_all()
        importlib.import_module("ansible.module_utils.basic")
        importlib.import_module("ansible.module_utils._internal._ansiballz._loader")
        for name in ("ansible", "ansible.module_utils"):
            _Packed(name)
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert names <= {Path("/proc/self/comm").read_text().strip(), _ALLOCATOR}, names
    # Objects of the imports are nothing that a child's collector has to look at.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is not for it
    os.mkfifo("orders")
    modules = os.open("orders", os.O_RDWR | os.O_CLOEXEC)
    with selectors.DefaultSelector() as waits:

        def fork(status: socket.socket | Path, be: Callable[[], NoReturn]) -> int:
            # A signal that comes before the child can take it waits until then.
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
            child = os.fork()
            if child == 0:
                kept = {each.fd: each.data for each in waits.get_map().values()}
                for data in kept.values():
                    if data and isinstance(data[1], socket.socket):
                        data[1].close()
                for number in (waits.fileno(), *kept):
                    os.close(number)
                try:
                    be()
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    os._exit(1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
            waits.register(os.pidfd_open(child), selectors.EVENT_READ, (child, status))
            return child

        waits.register(orders, selectors.EVENT_READ)
        waits.register(modules, selectors.EVENT_READ)
        orders.send(b"r")
        while True:
            for key, _ in waits.select():
                if key.fileobj is orders:
                    order, files, _, _ = socket.recv_fds(orders, _LARGEST, 4)
                    if not order:
                        return
                    with contextlib.ExitStack() as streams:
                        for file in files[1:]:
                            streams.callback(os.close, file)
                        status = socket.socket(fileno=files[0])
                        given = json.loads(order)
                        child = fork(status, functools.partial(_run, given, files, python))
                        status.send(struct.pack("i", child))
                elif key.fileobj == modules:
                    for pid in os.read(modules, _LARGEST).decode().split():
                        fork(Path(pid), functools.partial(_run_module, pid, python))
                else:
                    waits.unregister(key.fileobj)
                    child, status = key.data
                    os.close(key.fd)
                    code = os.waitpid(child, 0)[1]
                    if isinstance(status, Path):
                        with contextlib.suppress(OSError):  # it was killed
                            answer = os.open(status, os.O_WRONLY | os.O_NONBLOCK)
                            os.write(answer, b"%d\n" % (os.waitstatus_to_exitcode(code) & 0xFF))
                            os.close(answer)
                        status.unlink()
                        continue
                    with status, contextlib.suppress(OSError):
                        status.send(struct.pack("i", code))


def _run_module(pid: str, python: str) -> NoReturn:
    """Be what the script of a process id was started for, in the child."""
    process = Path("/proc", pid)
    command = process.joinpath("cmdline").read_text().split("\0")[2:-1]
    variables = process.joinpath("environ").read_text().split("\0")[:-1]
    order = {
        "program": [],
        "arguments": command,
        "cwd": process.joinpath("cwd").readlink(),
        "env": dict(each.split("=", 1) for each in variables),
    }
    # Its standard input and output are others while it tells and waits.
    ways = {4: os.O_RDONLY, 5: os.O_WRONLY, 2: os.O_WRONLY}
    files = [os.open(process / f"fd/{number}", way) for number, way in ways.items()]
    _run(order, [files[0], *files], python)


def _import_all() -> None:
    packages = {path.name for path in _PLUGINS.glob("influxops_*")} - {_STAND_IN}
    _import_modules("influxops", *sorted(packages))
    _keep_entry_points()


def _import_modules(*packages: str) -> None:
    for package in packages:
        (folder, *_) = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages([folder], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)


def _keep_entry_points() -> None:
    """Let a child with the server's paths not read again which plugins are installed."""
    paths, read = [*sys.path], importlib.metadata.entry_points
    kept = read()

    def entry_points(**given: Any) -> Any:
        return kept.select(**given) if sys.path == paths else read(**given)

    importlib.metadata.entry_points = entry_points
    for kind in importlib.import_module("influxops.plugin_host.discovery").installed().values():
        # These are kept as well.
        assert kind.distribution
        kind.load().Settings.declared()


class _Packed(list[str]):
    """The folders of a package that is imported already, and those that came in archives since."""

    def __init__(self, name: str) -> None:
        package = importlib.import_module(name)
        super().__init__(package.__path__)
        self._folder = name.replace(".", "/")
        package.__path__ = self

    def __iter__(self) -> Iterator[str]:
        yield from (f"{path}/{self._folder}" for path in sys.path if path.endswith(".zip"))
        yield from super().__iter__()


def _import_ansible() -> None:
    _import_all()
    importlib.import_module("ansible.cli.playbook")
    importlib.import_module("ansible.executor.playbook_executor")
    manager = importlib.import_module("ansible.config.manager")
    # Modules that were packed for one play are for the next one, too.
    atexit.unregister(manager.cleanup_tmp_file)


def _run(order: dict[str, Any], files: Sequence[int], python: str) -> NoReturn:
    """Be the command, in the child."""
    code = 1
    try:
        for number, file in enumerate(files[1:]):
            os.dup2(file, number)
        for file in {*files} - {0, 1, 2}:
            os.close(file)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        time.tzset()
        _open_streams()
        sys.argv = [*order["program"][:1], *order["arguments"]]
        sys.executable = python or sys.executable
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
        code = _command(order["program"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _command(program: Sequence[str]) -> int:
    """Run the command and what Python does at its end; return the exit code."""
    try:
        _main(program)()
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


def _main(program: Sequence[str]) -> Callable[[], object]:
    if not program and sys.argv and sys.argv[0] != "-":
        return lambda: runpy.run_path(sys.argv[0], run_name="__main__")
    if not program:
        sys.argv = sys.argv or [""]
        code = compile(sys.stdin.buffer.read(), "<stdin>", "exec")
        return lambda: exec(code, {"__name__": "__main__"})
    if program == [str(PLAYBOOK)]:
        play: Callable[[], object] = importlib.import_module("ansible.cli.playbook").main
        return play
    if program == STAND_IN:
        from influxops_devserver.cli import command

        return command
    from influxops.cli.main import main

    return main


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
    _serve(socket.socket(fileno=int(sys.argv[1])), *sys.argv[2:])
