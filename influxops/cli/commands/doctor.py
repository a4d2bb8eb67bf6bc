"""`influxops doctor`: everything that a run depends on."""

from __future__ import annotations

from collections.abc import Sequence

import click

from influxops.cli.options import common, read_options
from influxops.cli.output.stdio import say, say_json
from influxops.domain.text import pluralize
from influxops.errors import ExitCode


@click.command("doctor", short_help="Check everything that a run depends on.")
@read_options
@click.pass_context
def command(ctx: click.Context, output: str, timeout: float | None) -> None:
    """Look at everything that a run depends on, and say what to do about what is not right.

    Writes nothing. Ends with 1 when something would keep a run from working.
    """
    from influxops.cli.session import session
    from influxops.report.wording import CLI_STYLE

    marks = {True: "ok", False: "FAIL", None: "note"}
    quiet = common(ctx).quiet
    found = []
    with session(ctx, timeout=timeout) as (engine, context):
        for section, check in engine.doctor(context):
            hint = CLI_STYLE.advice(check.hint)
            found.append((section, check, hint))
            context.check()
            if output == "text" and not (quiet and check.ok):
                say(
                    f"{section}: {check.name}: {check.message}",
                    label=marks[check.ok].ljust(4),
                )
                if hint:
                    say(f"     → {hint}")
    if output == "json":
        checks = [
            {"section": section, "name": c.name, "ok": c.ok, "message": c.message, "hint": hint}
            for section, c, hint in found
        ]
        say_json({"version": 1, "checks": checks})
    elif not quiet:
        say(_summary([check.ok for _, check, _ in found]))
    failed = any(check.ok is False for _, check, _ in found)
    ctx.exit(ExitCode.FAILED if failed else ExitCode.OK)


def _summary(found: Sequence[bool | None]) -> str:
    if not found:
        return "Nothing that is configured offers a check; `influxops plan` reads all of it."
    failed, noted = found.count(False), found.count(None)
    if failed:
        return f"{failed} of {pluralize(len(found), 'check')} failed" + (
            f", {noted} to note" if noted else ""
        )
    good = f"{len(found) - noted} good, {noted} to note"
    if not noted:
        good = f"All {len(found)} checks are good"
    return f"{good}; `influxops plan` shows what a run would do."
