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
from influxops_demo.stage import DEVICES, PLACES, TARGETS, Stage, staged

_INTERRUPTED = 130
#: Seconds that a command has to end by itself after Ctrl-C, which reaches it as well.
_GRACE = 5.0


class _Wrong(Exception):
    """A step that did not end as it should; the message says how it did."""


def tell(*, keep: bool) -> int:
    """Run the demonstration.

    Args:
        keep: Whether to leave everything running until Ctrl-C.

    Returns:
        The exit code.

    Raises:
        InfluxopsError: When something does not start.
    """
    with _ended_by_sigterm():
        try:
            return _tell(keep=keep)
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Everything is stopped and removed.", err=True)
            return _INTERRUPTED


def tell_of_web() -> int:
    """Run the service and its console until Ctrl-C.

    Returns:
        The exit code.

    Raises:
        InfluxopsError: When something does not start.
    """
    from influxops_demo.web import run

    with _ended_by_sigterm():
        try:
            return run()
        except KeyboardInterrupt:
            click.echo("\nInterrupted. Everything is stopped and removed.", err=True)
            return _INTERRUPTED


def _tell(*, keep: bool) -> int:
    click.echo(
        f"influxops at work, on this machine only: {len(DEVICES)} tenants in a PostgreSQL of its "
        f"own,\n{len(TARGETS)} stand-ins for InfluxDB 3 that hold {PLACES} databases each, as "
        "InfluxDB 3 Core does.\n\nStarting them ...",
    )
    start = time.monotonic()
    with staged() as stage:
        _show_stage(stage, time.monotonic() - start)
        code = 0
        try:
            _show_steps(stage)
        except _Wrong as wrong:
            code = 1
            click.secho(f"\nThis should not have happened: {wrong}", fg="red", err=True)
        if keep:
            _show_what_is_left(stage)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            click.echo("\nStopping ...")
    if keep:
        click.echo("Everything is stopped and removed.")
    elif code == 0:
        _show_what_is_next()
    return code


def _show_stage(stage: Stage, seconds: float) -> None:
    postgres = stage.postgres
    devices = sum(DEVICES.values())
    lines = [
        ("registry", f"PostgreSQL on {postgres.host}:{postgres.port}, table device_registry: "),
        ("", f"{devices:,} devices of {len(DEVICES)} tenants"),
        *((name, f"stand-in on {stand_in.url}") for name, stand_in in stage.stand_ins.items()),
    ]
    for name, text in lines:
        click.echo(f"  {name:10}{text}")
    click.echo(f"Up after {seconds:.1f} s. The configuration, {stage.config}:\n")
    for line in stage.config.read_text(encoding="utf-8").rstrip().splitlines():
        click.echo(click.style(f"  {line}".rstrip(), dim=True))


def _show_steps(stage: Stage) -> None:
    tenants = len(DEVICES)
    _show(stage, "1. What is missing? A plan writes nothing.", "plan")
    _hold(stage, databases=0, changes=0)
    _show(stage, "2. Give every tenant its database.", "ensure")
    _hold(stage, databases=tenants, changes=tenants)
    _show(stage, "3. Once more: what is there is left alone.", "ensure")
    found = _hold(stage, databases=tenants, changes=tenants)
    _show(stage, "4. Where is what, and how much is in it?", "status")
    places = ", ".join(f"{len(names)} on {target}" for target, names in found.items())
    click.secho(
        f"\nDone. The stand-ins themselves list {tenants} databases, one a tenant:\n{places}.\n"
        f"The journal holds {stage.changes()} changes: the second ensure made none.",
        fg="green",
    )


def _show(stage: Stage, title: str, *arguments: str) -> None:
    """Run a command of influxops for the user to see."""
    click.echo(f"\n{click.style(title, bold=True)}\n")
    click.secho(f"$ influxops {shlex.join(arguments)}", fg="cyan")
    run = [sys.executable, "-P", "-c", "from influxops.cli.main import main; main()", *arguments]
    with subprocess.Popen(run, env=stage.environment, stdin=subprocess.DEVNULL) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise _Wrong(f"influxops {shlex.join(arguments)} ended with {code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for end in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return
        end()


def _hold(stage: Stage, *, databases: int, changes: int) -> dict[str, list[str]]:
    """Hold what the commands said against what the stand-ins and the journal hold."""
    try:
        found = stage.databases()
    except InfluxopsError as error:
        raise _Wrong(error.message) from None
    names = [name for held in found.values() for name in held]
    if len(names) != databases or len(set(names)) != databases:
        raise _Wrong(f"the stand-ins hold {len(names)} databases, not {databases}: {found}")
    if stage.changes() != changes:
        raise _Wrong(f"the journal holds {stage.changes()} changes, not {changes}")
    return found


def _show_what_is_left(stage: Stage) -> None:
    postgres, url = stage.postgres, stage.stand_ins[TARGETS[0]].url
    psql = "psql" if shutil.which("psql") else str(postgres.programs / "psql")
    click.echo("\nEverything is still running. In another terminal:\n")
    for name, value in stage.variables.items():
        click.echo(f"  export {name}={shlex.quote(value)}")
    folder = path()
    if folder is not None:
        click.echo(f"  export PATH={shlex.quote(folder)}:$PATH")
    click.echo("\nthen, for instance, give a tenant some telemetry, or add a tenant:\n")
    click.echo(
        f"  curl '{url}/api/v3/write_lp?db=telemetry_acme' \\\n"
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
