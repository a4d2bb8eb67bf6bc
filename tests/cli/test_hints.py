"""Hints can be typed: what looks like a command is one, whole, with the options that it has."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec.structs import replace

from influxops.cli.app import cli as group
from influxops.domain.hint import typed
from influxops.plugin import Hint, Refusal
from influxops_web.console.runs import lines_of
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.reports.samples import report, tenant

ROOT = Path(__file__).parents[2]
#: A command in a sentence: up to where its clause ends.
_COMMAND = re.compile(r"(?<![\w/.])influxops ([a-z][^,;:()`\n\"<>&]*)")
_NAMES = frozenset(group.list_commands(click.Context(group)))


def parsed(words: list[str]) -> bool:
    """Return whether click takes the words after `influxops`."""
    command: click.Command = group
    context = group.make_context("influxops", ["plan"])
    try:
        while isinstance(command, click.Group) and words:
            name, found, words = command.resolve_command(context, words)
            assert found is not None
            command = found
            if not isinstance(command, click.Group):
                command.make_context(name, [*words], parent=context)
        return True
    except click.exceptions.Exit:  # it was asked for help
        return True
    except click.UsageError:
        return False


def can_be_typed(clause: str) -> bool:
    """Return whether a clause begins with a command that has all options that the clause names."""
    try:
        words = shlex.split(clause.rstrip("."))
    except ValueError:  # an apostrophe of the sentence
        words = clause.rstrip(".").split()
    last = max((i for i, word in enumerate(words) if word.startswith("--")), default=0)
    return any(parsed(words[:end]) for end in range(len(words), last, -1))


def hints_in_outputs() -> Iterator[str]:
    for path in sorted((ROOT / "tests/golden/expected").glob("*.txt")):
        for section in path.read_text(encoding="utf-8").split("\n=== "):
            head, _, text = section.partition("\n")
            if "terminal of" not in head:  # there lines are broken
                for line in text.splitlines():
                    if re.search(r"hint|Next:|^(ERR|WARN|INFO|influxops:) |advice", line):
                        yield from _COMMAND.findall(line)


_TEXTS = (ast.Constant, ast.JoinedStr)


def texts_in_code() -> Iterator[ast.AST]:
    """Yield all nodes of our modules but docstrings and the parts of f-strings."""
    for top in ("influxops", "plugins"):
        for path in sorted((ROOT / top).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docs = {
                node.body[0].value
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            inner = {
                value
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                for value in node.values
            }
            yield from (node for node in ast.walk(tree) if node not in docs and node not in inner)


def hints_in_code() -> Iterator[str]:
    for node in texts_in_code():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Hint.command":
            yield from ([_text(node.args[0])] if node.args else [])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "typed":
            options = " ".join(_text(word.value) for word in node.keywords)
            yield typed(_text(node.args[0]), "-x", options=options)
        elif isinstance(node, _TEXTS):
            yield from re.findall(r"`influxops ([^`]+)`", _text(node))


def _text(node: ast.AST) -> str:
    """Return the text of an expression, with something for each value that it fills in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return "x"


def test_what_looks_like_a_command_in_recorded_outputs_can_be_typed() -> None:
    found = {hint for hint in hints_in_outputs() if hint.split()[0] in _NAMES}
    assert len(found) > 20
    assert [hint for hint in sorted(found) if not can_be_typed(hint)] == []


def test_a_verb_is_in_the_number_of_what_it_is_said_of() -> None:
    plural = re.compile(
        r"(?<![\d.,:-])1 [a-z]+( [a-z]+)?(?<!may) (have|are|were|wait|belong|need|hold)\b"
    )
    outputs = sorted((ROOT / "tests/golden/expected").glob("*.txt"))
    texts = [path.read_text(encoding="utf-8") for path in outputs]
    assert [found[0] for text in texts for found in plural.finditer(text)] == []
    assert [text for text in texts if re.search(r"(?<![\d.,:-])([02-9]|\d+\d) needs ", text)] == []


def test_commands_that_the_code_advises_can_be_typed() -> None:
    found = {hint for hint in hints_in_code() if hint[0].isalpha() and not hint.startswith("x")}
    assert len(found) > 30
    assert [hint for hint in sorted(found) if not can_be_typed(hint)] == []


def test_ids_that_begin_with_a_dash_are_no_options_in_what_is_typed() -> None:
    assert typed("move", "a b", options="--to eu2") == "move 'a b' --to eu2"
    assert typed("move", "-a b", options="--to eu2") == "move --to eu2 -- '-a b'"
    assert parsed(shlex.split(typed("retire --copies", "acme", "--due")))
    assert not parsed(["retire", "-x"])
    # All that the code quotes of tenants goes through it, but values of options.
    quoting = re.compile(r"(?<!--recreate \{)shlex\.quote\([^)]*\b(tenant|tenant\.id|owner)\b")
    for top in ("influxops/reconcile", "influxops/engine", "plugins/influxops_web"):
        for path in sorted((ROOT / top).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            assert [hit[0] for hit in quoting.finditer(text)] == [], path


def test_what_is_advised_for_an_id_that_begins_with_a_dash_can_be_typed(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "-x")
    servers = {"eu1": stand_in(), "eu2": stand_in()}
    cli.config(targets_toml(dict(servers), '[ledger]\nkind = "postgres"\n'))
    assert cli("ledger", "install").code == 0
    assert cli("ensure").code == 0
    db.execute("DELETE FROM device_registry WHERE tenant_id = '-x'")
    assert cli("retire", "--", "-x").code == 0
    told = cli("ensure", "--", "-x")
    hint = re.search(r"run influxops (unretire [^)]*?) to keep it", told.err)
    assert hint is not None, told.all
    assert hint[1] == "unretire -- -x"
    assert cli(*shlex.split(hint[1])).code == 0


def test_the_next_step_of_a_plan_is_its_whole_command_and_writes_for_the_same_tenants(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "zz-new")
    servers = {"eu1": stand_in(), "eu2": stand_in()}
    cli.config(targets_toml({**servers}))
    (cli.folder / "influxops.toml").rename(cli.folder / "other.toml")
    own = ("zz-new", "--target", "eu1", "--timeout", "90s", "-c", "other.toml")
    planned = cli("plan", *own, "--detailed-exitcode")
    assert planned.code == 3, planned.all
    next_step = next(line for line in planned.lines if line.startswith("Next: "))
    words = next_step.removeprefix("Next: ").removesuffix(" makes these changes")
    assert words == "influxops ensure --config other.toml --target eu1 --timeout 90s zz-new"
    assert cli(*shlex.split(words)[1:]).code == 0
    held = {name: [*server.databases()] for name, server in servers.items()}
    assert held == {"eu1": ["telemetry_zz-new"], "eu2": []}


def test_a_command_without_guards_names_the_one_that_has_them(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": stand_in(), "eu2": "http://127.0.0.1:1"}))
    for looks in (("status", "acme"), ("where", "acme")):
        told = cli(*looks, env={"INFLUXOPS_TARGETS_EU2_RETRIES": "0"})
        assert "`influxops ensure --allow unreachable acme`" in told.err or looks[0] == "status"
        assert ": --allow" not in told.err


def test_a_page_of_the_console_allows_by_a_whole_command() -> None:
    told = report(
        [tenant("a b", "guarded", "retire", message="refused", hint=Hint.allow("unreachable"))],
        refusals=[Refusal("unreachable", "it may be on eu2", ("a b",))],
    )
    for line in lines_of(replace(told, command="retire")):
        [command] = re.findall(r"on the command line, `(influxops [^`]+)`", line)
        assert shlex.split(command)[1:] == ["retire", "a b", "--allow", "unreachable"]
        assert can_be_typed(command.removeprefix("influxops "))
    for line in lines_of(replace(told, command="adopt")):
        assert f"adopt 'a b={told.tenants[0].database}' --allow" in line  # and no other database
    dashed = report(
        [tenant("-x", "guarded", "retire", message="refused", hint=Hint.allow("unreachable"))],
        refusals=[Refusal("unreachable", "it may be on eu2", ("-x",))],
    )
    assert len(lines_of(dashed)) == 1  # the refusal is not said twice
    for line in lines_of(replace(dashed, command="retire")):
        assert "`influxops retire --allow unreachable -- -x`" in line


def test_where_names_the_command_that_makes_that_database_alone(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "zz new", "zz-new")
    server = stand_in()
    cli.config(targets_toml({"eu1": server}))
    told = cli("where", "zz-new")
    hint = re.search(r"`influxops ([^`]+)` would make it on eu1", told.all)
    assert hint is not None, told.all
    assert cli(*shlex.split(hint[1])).code == 0
    assert [*server.databases()] == ["telemetry_zz-new"]


def test_each_command_that_prints_a_result_prints_it_as_json() -> None:
    #: They run until they are stopped, or print what another program reads.
    others = {"worker", "serve", "demo", "dev-server", "completion", "init"}
    context = group.make_context("influxops", ["plan"])
    commands = {name: group.get_command(context, name) for name in _NAMES - others}
    for name, found in [*commands.items()]:
        if isinstance(found, click.Group):
            commands |= {f"{name} {each}": command for each, command in found.commands.items()}
            if not found.invoke_without_command:
                del commands[name]
    without = {
        name
        for name, found in commands.items()
        if found is not None and "--format" not in {o for p in found.params for o in p.opts}
    }
    assert without == set()


def test_no_hint_names_a_file_of_the_docs_which_an_installation_may_not_have() -> None:
    texts = [_text(node) for node in texts_in_code() if isinstance(node, _TEXTS)]
    assert [text for text in texts if re.search(r"docs/[a-z/-]+\.md", text)] == []
