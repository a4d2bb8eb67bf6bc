"""Ids that make no database name: a clear line each, and nobody else suffers."""

from __future__ import annotations

import pytest

from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: Ids, and what the error has to say of each.
BAD = {
    "a b": "ASCII letters, digits",
    "../x": "a slash",
    "a/b": "a slash",
    "a\nb": "ASCII letters, digits",
    "x" * 600: "more than the 511",
    "müller": "ASCII letters, digits",
    "\x1b[31mred": "ASCII letters, digits",
    "o'brien\"": "ASCII letters, digits",
    "*": "ASCII letters, digits",
}


def test_each_id_that_makes_no_name_is_one_error_and_the_others_are_served(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", *BAD, "zeta")
    done = ops("ensure")
    assert done.code == 1
    assert influx.databases() == ["telemetry_acme", "telemetry_zeta"]
    assert done.fine == {"telemetry_acme", "telemetry_zeta"}
    errors = [line for line in done.lines if line.startswith("ERR")]
    assert len(errors) == len(BAD)
    for id_, rule in BAD.items():
        (error,) = (error for error in errors if repr(id_)[1:-1][:40] in error)
        assert rule in error
    assert all(line.isprintable() for line in done.lines)  # no id steers the terminal
    (summary,) = (line for line in done.lines if " tenants: " in line)
    assert f"2 created, {len(BAD)} blocked" in summary


def test_white_space_around_an_id_is_named_whatever_has_it(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    (ops.folder / "more.csv").write_text("id,target\nbeta ,\n")
    (ops.folder / "more.json").write_text('[" gamma"]')
    ops.config(
        '[sources.registry]\nkind = "postgres"\n'
        '[sources.csv]\nkind = "file"\npath = "more.csv"\n'
        '[sources.json]\nkind = "file"\npath = "more.json"\n'
    )
    done = ops("plan")
    assert done.code == 1
    errors = [line for line in done.lines if line.startswith("ERR ")]
    assert len(errors) == 2
    assert all("its id begins or ends with white space" in line for line in errors)


@pytest.mark.parametrize("id_", ["", "  ", None], ids=["empty", "blank", "NULL"])
def test_a_missing_id_is_one_error_that_counts_rows_and_the_others_are_served(
    ops: Cli, db: TestDatabase, influx: Influx, id_: str | None
) -> None:
    db.registry("acme", id_, id_, id_)
    done = ops("ensure")
    assert done.code == 1
    assert influx.databases() == ["telemetry_acme"]
    (error,) = (line for line in done.lines if line.startswith("ERR"))
    assert error.startswith("ERR source registry: 3 rows of device_registry have no tenant_id")


def test_ids_that_differ_by_case_alone_are_held(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("Acme", "acme", "zeta")
    done = ops("ensure")
    assert done.code == 1
    assert "case" in done.out
    assert "telemetry_zeta" in influx.databases()
    assert len(influx.databases()) <= 2


def test_ids_that_differ_by_case_alone_are_a_warning_where_both_databases_exist(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("Acme", "acme")
    for name in ("telemetry_Acme", "telemetry_acme"):
        influx.create(name)
    done = ops("ensure")
    assert done.code == 0
    assert [line for line in done.lines if line.startswith("WARN") and "case" in line]


def test_what_is_ignored_is_said_to_be_and_is_no_error(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "legacy tenant")
    ops.config('[tenants]\nignore = ["legacy tenant"]\n')
    done = ops("ensure")
    assert done.code == 0
    assert "(ignored)" in done.out
    assert influx.databases() == ["telemetry_acme"]


def test_numbers_and_uuids_are_read_as_text(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.execute(
        "CREATE TABLE device_registry (tenant_id bigint)",
        "INSERT INTO device_registry VALUES (42), (7)",
    )
    assert ops("ensure").code == 0
    assert influx.databases() == ["telemetry_42", "telemetry_7"]


def test_columns_of_a_query_override_name_and_retention(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.execute(
        "CREATE TABLE tenants (id text, db text, keep text)",
        "INSERT INTO tenants VALUES ('acme', 'telemetry_special', '7d'), ('beta', NULL, NULL)",
    )
    ops.config(
        '[sources.registry]\nkind = "postgres"\n'
        'query = "SELECT id AS tenant_id, db AS database, keep AS retention FROM tenants"\n'
    )
    done = ops("ensure")
    assert done.code == 0
    assert influx.databases() == ["telemetry_beta", "telemetry_special"]
    assert influx.retention("telemetry_special") == 7 * 86_400
    assert influx.retention("telemetry_beta") is None
