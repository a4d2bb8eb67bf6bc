"""Each block of code in README and in the pages is something that works, as far as it can be seen
without running it; tests that run a page are beside what it is about, or in test_guides.py."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tomllib
from collections.abc import Callable

import click
import jsonschema
import pytest
import yaml

from influxops.cli.app import cli
from influxops.plugin_host.discovery import installed
from influxops.plugin_host.schema import config_schema
from tests.project.blocks import PAGES, ROOT, Block, blocks, words

BLOCKS = [block for page in PAGES for block in blocks(page)]
SCHEMA = jsonschema.Draft7Validator(json.loads(json.dumps(config_schema(installed()))))
#: Programs of others that pages show.
_FOREIGN = {
    *("ansible-doc", "ansible-galaxy", "cd", "curl", "export", "jq", "journalctl", "mkdir"),
    *("pg_dump", "pip", "promtool", "psql", "pytest", "python3", "systemctl", "useradd", "zstd"),
}


def toml(block: Block) -> None:
    document = tomllib.loads(block.text)
    if "pyproject.toml" in block.text.split("\n")[0] or "outputs" in document:
        return  # of setuptools, of Telegraf
    for error in SCHEMA.iter_errors(document):
        # A block may show a part of a section; and a kind that its reader is about to write.
        is_part = error.validator == "required"
        is_new = block.page.name == "plugins.md" and error.absolute_path[0] == "sources"
        assert is_part or is_new, error.message


def python(block: Block) -> None:
    compile(block.text, block.name, "exec", dont_inherit=True)


def shell(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    lines = block.text.replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("influxops "):
            command(line)


def console(block: Block) -> None:
    assert block.commands, "a console shows a command after `$ `"
    for shown, _ in block.commands:
        command(shown)


def command(line: str) -> None:
    """Take a command apart as its program does: options that are none are refused."""
    program, *arguments = words(re.sub(r"^(\w+=\S* )+", "", line))
    if program == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        names = [name for name in arguments if "=" not in name]
        assert all(re.search(rf"^{name}:", targets, re.MULTILINE) for name in names)
    elif program == "influxops":
        found: click.Command | None = cli
        ctx: click.Context | None = None
        while found is not None:
            ctx = click.Context(found, parent=ctx, info_name=found.name)
            _, arguments, _ = found.make_parser(ctx).parse_args(arguments)
            group = found if isinstance(found, click.Group) and arguments else None
            _, found, arguments = (
                group.resolve_command(ctx, arguments) if group else (None, None, arguments)
            )
    else:
        assert program in _FOREIGN, f"{program}: is it a program that its reader has?"


_CHECKS: dict[str, Callable[[Block], object]] = {
    "toml": toml,
    "python": python,
    "yaml": lambda block: [*yaml.safe_load_all(block.text)],
    "json": lambda block: json.loads(block.text),
    "ini": lambda block: configparser.ConfigParser(strict=False).read_string(block.text),
    "sh": shell,
    "console": console,
    # Tests of theirs run each of them.
    "nginx": lambda block: block.page.name == "routing.md" or pytest.fail("no test runs it"),
    "sql": lambda block: block.page.name in ("ledger.md", "service.md") or pytest.fail("no test"),
    "text": lambda block: block.text,
}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_of_code_is_what_its_program_takes(block: Block) -> None:
    assert block.language in _CHECKS, "say in which language it is"
    _CHECKS[block.language](block)


def test_no_block_escapes() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len(fences) == 2 * len(blocks(page)), page
