"""What the demonstration shows: the real commands, what they say, and whether it is true."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from influxops.plugin import InfluxopsError
from influxops_demo.environment import (
    DEVICES,
    INFLUXOPS,
    PLACES,
    TARGETS,
    DemoEnvironment,
    running_environment,
)
from influxops_demo.routing import run_routing
from influxops_demo.web import run_service

_INTERRUPTED = 130
#: Seconds that a command has to end by itself after Ctrl-C, which reaches it as well.
_GRACE = 5.0


class _StepFailed(Exception):
    """A step that did not end as it should; the message says how it did."""


def run(*, keep: bool, web: bool, routing: bool) -> int:
    """Run what is asked for, the walk through the commands by default; return the exit code."""
    with _ended_by_sigterm():
        try:
            if routing:
                return run_routing()
            return run_service() if web else _run(keep=keep)
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Everything is stopped and removed.", err=True)
            return _INTERRUPTED


def _run(*, keep: bool) -> int:
    click.echo(
        f"influxops at work, on this machine only: {len(DEVICES)} tenants in a PostgreSQL of its "
        f"own,\n{len(TARGETS)} stand-ins for InfluxDB 3 that hold {PLACES} databases each, as "
        "InfluxDB 3 Core does.\n\nStarting them ...",
    )
    start = time.monotonic()
    with running_environment() as demo:
        _show_stage(demo, time.monotonic() - start)
        code = 0
        try:
            _show_steps(demo)
        except _StepFailed as wrong:
            code = 1
            click.secho(f"\nThis should not have happened: {wrong}", fg="red", err=True)
        if keep:
            _show_what_is_left(demo)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            click.echo("\nStopping ...")
    if keep:
        click.echo("Everything is stopped and removed.")
    elif code == 0:
        _show_what_is_next()
    return code


def _show_stage(demo: DemoEnvironment, seconds: float) -> None:
    postgres = demo.postgres
    devices = sum(DEVICES.values())
    lines = [
        ("registry", f"PostgreSQL on {postgres.host}:{postgres.port}, table device_registry: "),
        ("", f"{devices:,} devices of {len(DEVICES)} tenants"),
        *((name, f"stand-in on {stand_in.url}") for name, stand_in in demo.stand_ins.items()),
    ]
    for name, text in lines:
        click.echo(f"  {name:10}{text}")
    click.echo(f"Up after {seconds:.1f} s. The configuration, {demo.config}:\n")
    for line in demo.config.read_text(encoding="utf-8").rstrip().splitlines():
        click.echo(click.style(f"  {line}".rstrip(), dim=True))


def _show_steps(demo: DemoEnvironment) -> None:
    tenants = len(DEVICES)
    _show(demo, "1. What is missing? A plan writes nothing.", "plan")
    _verify(demo, databases=0, changes=0)
    _show(demo, "2. Give every tenant its database.", "ensure")
    _verify(demo, databases=tenants, changes=tenants)
    _show(demo, "3. Again: what exists is left alone.", "ensure")
    found = _verify(demo, databases=tenants, changes=tenants)
    demo.write_telemetry()
    _show(demo, "4. A day of telemetry later: where is what, and how much is in it?", "status")
    places = ", ".join(f"{len(names)} on {target}" for target, names in found.items())
    click.secho(
        f"\nDone. The stand-ins themselves list {tenants} databases, one a tenant:\n{places}.\n"
        f"The journal holds {demo.changes()} changes: the second ensure made none.",
        fg="green",
    )


def _show(demo: DemoEnvironment, title: str, *arguments: str) -> None:
    """Run a command of influxops for the user to see."""
    click.echo(f"\n{click.style(title, bold=True)}\n")
    click.secho(f"$ influxops {shlex.join(arguments)}", fg="cyan")
    with subprocess.Popen(
        [*INFLUXOPS, *arguments], env=demo.environment, stdin=subprocess.DEVNULL
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise _StepFailed(f"influxops {shlex.join(arguments)} ended with {code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for end in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return
        end()


def _verify(demo: DemoEnvironment, *, databases: int, changes: int) -> dict[str, list[str]]:
    """Compare what the commands printed with what the stand-ins and the journal hold."""
    try:
        found = demo.databases()
    except InfluxopsError as error:
        raise _StepFailed(error.message) from None
    names = [name for held in found.values() for name in held]
    if len(names) != databases or len(set(names)) != databases:
        raise _StepFailed(f"the stand-ins hold {len(names)} databases, not {databases}: {found}")
    if demo.changes() != changes:
        raise _StepFailed(f"the journal holds {demo.changes()} changes, not {changes}")
    return found


def _show_what_is_left(demo: DemoEnvironment) -> None:
    postgres, url = demo.postgres, demo.stand_ins[TARGETS[0]].url
    psql = "psql" if shutil.which("psql") else str(postgres.programs / "psql")
    click.echo("\nEverything is still running. In another terminal:\n")
    for name, value in demo.variables.items():
        click.echo(f"  export {name}={shlex.quote(value)}")
    folder = path()
    if folder is not None:
        click.echo(f"  export PATH={shlex.quote(folder)}:$PATH")
    click.echo("\nthen, for instance, give a tenant some telemetry, or add a tenant:\n")
    click.echo(
        f"  curl '{url}/api/v3/write_lp?db=telemetry_acme' \\\n"  # shown, not run  # noqa: S608
        "    -d 'telemetry,device_id=acme-00001 temperature=21.5'\n"
        "  influxops status acme\n"
        f"  {shlex.quote(psql)} \\\n"
        f"    postgresql://{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/"
        f"{postgres.database} \\\n"
        "    -c \"INSERT INTO device_registry VALUES ('d-1', 'newco', 'GW', '1')\"\n"
        "  influxops plan\n"
        "  influxops ensure\n"
        "  influxops where newco\n"
        "  influxops doctor\n"
    )
    click.secho("Ctrl-C here stops and removes everything.", bold=True)


def _show_what_is_next() -> None:
    influxops = program()
    click.echo(
        "Everything is stopped and removed.\n\nNext:\n"
        f"  {influxops} demo --keep   the same, left running for you to try commands on\n"
        f"  {influxops} init          a commented influxops.toml for servers of your own\n"
        f"  {influxops} doctor        whether all that it names is fit for a run\n"
        f"  {influxops} plan          what a run would do"
    )


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demonstration as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def program() -> str:
    """Give what to type for `influxops`: its name, or its path where that name finds no or another.

    The path is relative where the program is below the current folder, as in a clone.
    """
    own = _own()
    found = shutil.which("influxops")
    if found is not None and own.exists() and own.samefile(found):
        return "influxops"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def path() -> str | None:
    """Give the folder that another terminal needs in PATH; None where PATH has it."""
    return None if program() == "influxops" else str(_own().parent)


def _own() -> Path:
    started = Path(sys.argv[0])
    if started.name == "influxops" and started.is_file():
        return started.absolute()
    return Path(sysconfig.get_path("scripts")) / "influxops"  # started as `python -m influxops`
