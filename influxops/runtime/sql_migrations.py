"""The steps of a schema that a plugin carries: numbered plain SQL files in a package."""

from __future__ import annotations

import functools
from importlib.resources import files

from msgspec import Struct


class Migration(Struct, frozen=True):
    """One step of a schema."""

    version: int
    name: str  # what it is about, as its file is called
    text: str  # plain SQL


@functools.cache
def migrations(package: str) -> tuple[Migration, ...]:
    """Return all steps that a package has in its folder `migrations`, in their order.

    Args:
        package: The package, `influxops_postgres` for instance; its files are called
            `0001_ledger.sql`.
    """
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if file.name.endswith(".sql"):
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda each: each.version))
