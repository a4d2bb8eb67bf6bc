"""A distribution to start a plugin from, of the templates beside this module."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path

from influxops._version import __version__
from influxops.constants import PLUGIN_GROUP
from influxops.domain.text import one_line
from influxops.errors import ConfigError
from influxops.plugin_host.discovery import installed

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Each file of a distribution, and the template of its text; what is in braces is filled in.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "influxops.toml": "{role}.toml",
    ".github/workflows/test.yml": "ci.yml",
    "{module}/__init__.py": "{role}.py",
    "{module}/py.typed": "",
    "tests/test_{kind}.py": "test_{role}.py",
}
#: Files that only one role has.
_FILES_OF = {"source": {"tenants.txt": "tenants.txt"}}


def write_plugin(name: str, role: str, folder: str | None) -> Path:
    """Write a new distribution; return its folder.

    Raises:
        ConfigError: Where the name is none, the folder exists, or it cannot be written.
    """
    kind = name.removeprefix("influxops-")
    if not _NAME.fullmatch(kind):
        raise ConfigError(
            f"{one_line(name)!r} is no name of a plugin",
            hint="small letters, digits and single hyphens, a letter first: my-crm",
        )
    if (taken := installed().get(kind)) is not None:
        raise ConfigError(
            f"{taken.distribution} has a plugin of the kind {kind}", hint="choose another name"
        )
    module = "influxops_" + kind.replace("-", "_")
    words = {
        "kind": kind,
        "role": role,
        "distribution": f"influxops-{kind}",
        "module": module,
        "Class": "".join(part.capitalize() for part in (*kind.removesuffix(role).split("-"), role)),
        "version": __version__,
        "group": PLUGIN_GROUP,
    }
    target = Path(folder or words["distribution"])
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(f"{target} exists already", hint="--output DIR takes another") from None
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        for path, template in {**_FILES, **_FILES_OF.get(role, {})}.items():
            file = target / path.format(**{**words, "kind": kind.replace("-", "_")})
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_filled(template.format(**words), words), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise _unwritable(target, error) from None
    return target


def _filled(template: str, words: dict[str, str]) -> str:
    if not template:
        return ""
    text = files("influxops.cli").joinpath("templates", f"{template}.txt").read_text("utf-8")
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], text)


def _unwritable(target: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{target} cannot be written: {error.strerror}", hint="--output DIR takes another folder"
    )
