"""The options that commands share, and what they complete to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from influxops.config.load import Section
    from influxops.plugin_host.discovery import PluginType
    from influxops.plugin_host.ledger import LedgerHandle
    from influxops.runtime.context import RunContext

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass  # not a Struct: `--help` and `--version` need nothing of msgspec, which takes longer
class Common:
    """What the common options say."""

    config: str | None = None  # the configuration file; None for the default
    verbose: int = 0  # how often `-v` was given
    quiet: bool = False
    log_format: str = "text"  # or `json`
    output: str = "text"  # or `json`, where there is a choice
    #: What a test gives: the plugins to choose from, and a reporter of its own.
    kinds: Mapping[str, PluginType] | None = None
    reporters: tuple[Section, ...] = ()


def common(ctx: click.Context) -> Common:
    """Return the common options of this command line."""
    root = ctx.find_root()
    root.obj = root.obj or Common()
    assert isinstance(root.obj, Common)
    return root.obj


#: Seconds that completing may ask the ledger, and entries of its history that are looked at.
_COMPLETING, _LATELY = 1.0, 1000
#: The longest duration in seconds: dates are made of it.
_LONGEST = 36_500 * 86_400
#: What only shows or tells, and what a run that writes does not have.
_SHOWS = frozenset({"changes_only", "dry_run", "detailed_exitcode", "orphans", "output", "yes"})


#: What selects tenants beside the argument.
_SELECTS = frozenset({"states", "targets"})


def command_line(
    ctx: click.Context, command: str = "", tenants: Iterable[str] | None = None
) -> str:
    """Return what to type for a run that writes, by `command`: the same tenants and options.

    Without one it is made by this command, or by `ensure` for `plan`. Where `tenants` are given,
    they are named instead of what this command line selects.
    """
    import shlex

    own = "ensure" if ctx.info_name == "plan" else ctx.info_name or ""
    config = common(ctx).config
    options: list[Any] = ["--config", config] if config else []
    named: list[Any] = []
    for parameter in ctx.command.params:
        name, given = parameter.name or "", ctx.params.get(parameter.name or "")
        typed = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        is_selecting = isinstance(parameter, click.Argument) or name in _SELECTS
        if not typed or not parameter.expose_value or (is_selecting and tenants is not None):
            continue
        values = [*given] if isinstance(given, tuple) else [given]
        if isinstance(parameter, click.Argument):
            named += values
        elif name not in _SHOWS:
            option = max(parameter.opts, key=len)
            unit = "s" if isinstance(parameter.type, Duration) else ""
            words = [f"{v:.12g}{unit}" if isinstance(v, (int, float)) else v for v in values]
            options += [option] if given is True else [w for v in words for w in (option, v)]
    named += tenants or ()
    apart = ["--"] if any(str(name).startswith("-") for name in named) else []
    rest = shlex.join(map(str, [*options, *apart, *named]))
    return f"influxops {command or own} {rest}".rstrip()


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    source = ctx.get_parameter_source(parameter.name or "")
    if source is not click.core.ParameterSource.DEFAULT:
        setattr(common(ctx), parameter.name or "", value)
    return value


def _keep_log_format(ctx: click.Context, parameter: click.Parameter, value: str) -> None:
    _keep(ctx, parameter, value)
    if value == "json":
        from influxops.cli.output.json_log import Records
        from influxops.cli.output.stdio import speak_records

        speak_records(Records().line)  # from here on, before there are secrets and a run


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return what adds options to a command, in the order of its help."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


#: `--config`, `-v`, `-q` and `--log-format`.
common_options = options(
    click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False),
        help="The configuration file [default: $INFLUXOPS_CONFIG, ./influxops.toml].",
        expose_value=False,
        callback=_keep,
    ),
    click.option(
        "-v",
        "--verbose",
        count=True,
        help="Say more; twice for every request.",
        expose_value=False,
        callback=_keep,
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        help="Say nothing when all is well.",
        expose_value=False,
        callback=_keep,
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        is_eager=True,  # what is wrong with the other options is a record, too
        help="How standard error is written: lines, or one JSON record a line.",
        expose_value=False,
        callback=_keep_log_format,
    ),
)


class Duration(click.ParamType[float]):
    """A duration on the command line: `90s`, `15m`."""

    name = "duration"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds, of a number or of a duration with units."""
        from influxops.domain.durations import parse_seconds

        try:
            seconds = parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0 and not self._may_be_zero:
            self.fail("it must be more than nothing", param, ctx)
        if seconds > _LONGEST:
            self.fail("it must be at most 36500d, which are a hundred years", param, ctx)
        return seconds


def _timeout_option(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--timeout",
        type=Duration(),
        metavar="DURATION",
        help=f"How long this may take, for instance 90s or 10m [default: {default}].",
    )


timeout_option = _timeout_option("run.timeout, 15m")
#: Of what may take as long as it takes.
endless_timeout_option = _timeout_option("as long as it takes")

format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=_keep,
    help="How the result is written to standard output.",
)


def complete_targets(
    ctx: click.Context, parameter: click.Parameter, start: str
) -> list[CompletionItem]:
    """Complete to the targets that are configured."""
    from influxops.config.load import load_config
    from influxops.errors import InfluxopsError

    try:
        config = load_config(common(ctx).config)
    except InfluxopsError:
        return []  # no message can be shown while completing
    return _items((section.name for section in config.by_role("targets")), start)


def complete_tenants(
    ctx: click.Context, parameter: click.Parameter, start: str
) -> list[CompletionItem]:
    """Complete to the tenants of the ledger."""

    def read(ledger: LedgerHandle, context: RunContext) -> list[str]:
        return sorted(ledger.load_records(None, context).records)

    return _items(_recorded(ctx, read), start)


def complete_runs(
    ctx: click.Context, parameter: click.Parameter, start: str
) -> list[CompletionItem]:
    """Complete to the newest runs of the ledger's history."""
    from influxops.domain.record import HistoryQuery

    def read(ledger: LedgerHandle, context: RunContext) -> list[str]:
        entries = ledger.history(HistoryQuery(most=_LATELY), context)
        return [*dict.fromkeys(entry.run for entry in reversed(entries))]

    return _items(_recorded(ctx, read), start)


def _recorded(
    ctx: click.Context, read: Callable[[LedgerHandle, RunContext], list[str]]
) -> list[str]:
    """Return what the ledger has, as far as it can be typed as it is; nothing where it is away."""
    import logging
    import shlex

    from msgspec.structs import replace

    from influxops.config.load import load_config
    from influxops.engine.engine import Engine
    from influxops.runtime.context import RunContext

    logging.disable()  # no message can be shown while completing
    try:
        config = load_config(common(ctx).config)
        alone = replace(config, sections=tuple(config.by_role("ledger")))
        with Engine(alone) as engine:
            found = read(engine.needs_ledger(), RunContext(_COMPLETING))
    except Exception:  # whatever a plugin raises
        return []
    # A shell puts in what is completed without quoting it.
    return [name for name in found if shlex.quote(name) == name and not name.startswith("-")]


def _guards(ctx: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Complete to the guards that a run on the command line may have to pass."""
    from influxops.engine.operations import GUARDS

    found = _items((name for name in GUARDS if name not in IN_TASKS_ONLY), start)
    for item in found:
        item.help = f"refuses {GUARDS[item.value].what}"
    return found


def kinds(ctx: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Complete to the kinds of plugins that are installed."""
    from influxops.plugin_host.discovery import installed

    return _items(installed(), start)


def _items(names: Any, start: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(start)]


#: Guards of what the command line does only to replace a lost database that a client has created
#: again, and what else they are for.
IN_TASKS_ONLY = {
    "drop": "it lets a task with `state: absent` drop databases (`influxops docs ansible`); beside "
    "`--recreate` or `--allow recreate-lost` it drops what a client has created in place of a "
    "lost one"
}

_dry_run = click.option("--dry-run", is_flag=True, help="Write nothing, and show what would be.")
allow_option = click.option(
    "--allow",
    multiple=True,
    metavar="GUARD",
    shell_complete=_guards,
    help="Let a guard pass that refuses something; may be repeated.",
)


def target_option(text: str) -> Callable[[Command], Command]:
    """Return the option that limits a command to some targets."""
    return click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_targets,
        help=text,
    )


#: What the commands that only look share.
read_options = options(format_option, timeout_option, common_options)

#: What the commands that change what is recorded share, as `execute` takes it.
ledger_run_options = options(_dry_run, allow_option, timeout_option, format_option, common_options)

#: What `ensure` and `plan` share, as `influxops.cli.session.execute` takes it.
run_options = options(
    click.argument("named", nargs=-1, metavar="[TENANT]...", shell_complete=complete_tenants),
    click.option(
        "--tenant",
        "tenants",
        multiple=True,
        metavar="ID",
        shell_complete=complete_tenants,
        help="Write for this tenant only, as if it was named; may be repeated.",
    ),
    target_option("Write to this target only; may be repeated."),
    click.option(
        "--allow",
        multiple=True,
        metavar="GUARD",
        shell_complete=_guards,
        help="Let a guard pass: unreachable, shorter-retention, empty-source, and with a ledger "
        "recreate-lost, replaced-server, mass-change, new-source, unrecorded-changes; may be "
        "repeated.",
    ),
    click.option(
        "--verify",
        is_flag=True,
        help="Read what each database stored, instead of trusting the usual signs, to find out "
        "whether it is complete; a request a database.",
    ),
    timeout_option,
    format_option,
    common_options,
)
