"""`influxops doctor`: everything that a run depends on."""

from __future__ import annotations

import json

import click

from influxops.cli.options import common, common_options, format_option, timeout_option


@click.command("doctor", short_help="Check everything that a run depends on.")
@format_option
@timeout_option
@common_options
@click.pass_context
def command(context: click.Context, output: str, timeout: float | None) -> None:
    """Look at everything that a run depends on, and say what to do about what is not right.

    Writes nothing. Ends with 1 when something would keep a run from working.
    """
    from influxops.cli.session import session

    marks = {True: "ok", False: "FAIL", None: "note"}
    found = []
    with session(context, timeout=timeout) as (engine, run):
        for section, check in engine.doctor(run):
            found.append((section, check))
            run.check()
            if output == "text" and not (common(context).quiet and check.ok):
                _tell(marks[check.ok], f"{section}: {check.name}: {check.message}", check.hint)
    failed = sum(check.ok is False for _, check in found)
    if output == "json":
        checks = [
            {"section": section, "name": c.name, "ok": c.ok, "message": c.message, "hint": c.hint}
            for section, c in found
        ]
        click.echo(json.dumps({"version": 1, "checks": checks}, indent=2, ensure_ascii=False))
    elif not common(context).quiet:
        click.echo(
            f"{failed} of {len(found)} checks failed"
            if failed
            else f"All {len(found)} checks are good; `influxops plan` shows what a run would do."
        )
    context.exit(1 if failed else 0)


def _tell(mark: str, text: str, hint: str) -> None:
    colour = {"ok": "green", "FAIL": "red", "note": "yellow"}[mark]
    click.echo(f"{click.style(mark.ljust(4), fg=colour)} {text}")
    if hint:
        click.echo(f"     → {hint}")
