"""The lookup `tenant`: where a tenant's database is, or why that is unknown."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from influxops_devserver.testing import StandIn, running_stand_in
from tests.ansible.conftest import NOWHERE, ROOT, Played, Stage, create
from tests.integration.proxy import running_proxy
from tests.pg import TestDatabase

_PLUGIN = ROOT / "ansible/lookup/tenant.py"


def look(
    stage: Stage,
    *calls: str,
    play: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Played:
    """Look up what each call gives, all of them whether they fail or not."""
    return stage.tasks(
        *({"set_fact": {f"found_{n}": f"{{{{ {call} }}}}"}} for n, call in enumerate(calls)),
        play=play,
        environment=environment,
    )


def found(played: Played) -> list[Any]:
    """Give what each call gave."""
    assert not any(result["failed"] for result in played.results), played.output
    return [next(iter(result["ansible_facts"].values())) for result in played.results]


def failures(played: Played) -> list[str]:
    """Give why each call failed."""
    assert all(result["failed"] for result in played.results), played.results
    return [result["msg"] for result in played.results]


def place(tenant: str, server: StandIn, target: str = "default") -> dict[str, str]:
    database = f"telemetry_{tenant}"
    return {"tenant": tenant, "database": database, "target": target, "url": server.url}


def test_one_term_is_one_place_and_several_are_a_list_in_their_order(
    stage: Stage, server: StandIn
) -> None:
    for name in ("telemetry_a", "telemetry_b", "telemetry_7"):
        create(server, name)
    url = f"url='{server.url}'"
    one, listed, several, nested, none = found(
        look(
            stage,
            f"lookup('tenant', 'a', {url})",
            f"query('tenant', 'a', {url})",
            f"lookup('tenant', 'b', 'a', 'b', {url})",
            f"query('tenant', ['a', 7], 'b', {url})",
            f"query('tenant', {url})",
        )
    )
    a, b, number = place("a", server), place("b", server), place("7", server)
    assert one == a
    assert listed == [a]
    assert several == [b, a, b]
    assert nested == [a, number, b]
    assert none == []


def test_however_many_terms_there_are_the_servers_are_read_once(
    stage: Stage, server: StandIn
) -> None:
    create(server, "telemetry_a")
    create(server, "telemetry_b")
    requests = []
    with running_proxy(server.url) as proxy:
        for terms in ("'a'", "'a', 'b'"):
            proxy.seen.clear()
            found(look(stage, f"query('tenant', {terms}, url='{proxy.url}')"))
            requests.append([seen.path for seen in proxy.seen])
    assert requests[0] == requests[1] != []


def test_the_configuration_is_the_one_that_the_command_finds(
    stage: Stage, server: StandIn, registry: TestDatabase
) -> None:
    registry.registry("a")
    for name in ("telemetry_a", "telemetry_newcomer", "own_a", "its_own"):
        create(server, name)
    (stage.folder / "tenants.csv").write_text("tenant_id,database\na,its_own\n")
    target = f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    source = f'[sources.s]\nkind = "file"\npath = "{stage.folder}/tenants.csv"\n'
    named = stage.folder / "named.toml"
    named.write_text('[naming]\ndatabase = "own_{tenant_id}"\n' + target)

    def seen(call: str, environment: Mapping[str, str]) -> tuple[str, str]:
        (place,) = found(look(stage, call, environment=environment))
        assert place["url"] == server.url
        return place["database"], place["target"]

    alone = {**registry.environment, "INFLUXDB_URL": server.url}
    assert seen("lookup('tenant', 'a')", alone) == ("telemetry_a", "default")
    (stage.folder / "influxops.toml").write_text(source + target)
    # What the registry says of a tenant counts, and one that is not in it yet is found, too.
    assert seen("lookup('tenant', 'a')", {}) == ("its_own", "eu1")
    assert seen("lookup('tenant', 'newcomer')", {}) == ("telemetry_newcomer", "eu1")
    assert seen("lookup('tenant', 'a')", {"INFLUXOPS_CONFIG": str(named)}) == ("own_a", "eu1")
    assert seen("lookup('tenant', 'a', config='named.toml')", {}) == ("own_a", "eu1")


def test_what_cannot_be_known_fails_and_says_for_whom_and_why(stage: Stage) -> None:
    with running_stand_in() as one, running_stand_in() as two:
        create(one, "telemetry_a")
        for server in (one, two):
            create(server, "telemetry_dbl")
        targets = {"eu1": {"url": one.url}, "eu2": {"url": two.url}}
        away = {"eu1": {"url": one.url}, "eu3": {"url": NOWHERE, "retries": 0}}
        several, missing, dark = failures(
            look(
                stage,
                "lookup('tenant', 'dbl', targets=targets)",
                "lookup('tenant', 'a', 'nobody', 'a b', targets=targets)",
                "lookup('tenant', 'a', 'nobody', targets=away)",
                play={"vars": {"targets": targets, "away": away}},
            )
        )
        known = look(stage, "lookup('tenant', 'a', targets=away)", play={"vars": {"away": away}})
    assert "telemetry_dbl is on eu1" in several
    assert "'nobody' has no database telemetry_nobody yet" in missing
    assert "'a b'" in missing
    assert "'a'" not in missing
    assert "telemetry_nobody: it may be on eu3, which cannot be read" in dark
    assert NOWHERE in dark
    assert "allow" not in dark  # a lookup allows nothing
    # Where it is, is known; what else could not be read is a warning.
    assert found(known) == [place("a", one, "eu1")]
    assert "[WARNING]" in known.output
    assert NOWHERE in known.output


def test_a_registry_that_cannot_be_read_leaves_nothing_known(stage: Stage, server: StandIn) -> None:
    create(server, "telemetry_a")
    config = stage.folder / "influxops.toml"
    config.write_text(
        '[sources.s]\nkind = "file"\npath = "/no/such/tenants.csv"\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    (why,) = failures(look(stage, "lookup('tenant', 'a')"))
    assert "/no/such/tenants.csv" in why


def test_errors_can_be_a_warning_or_nothing_as_with_any_lookup(
    stage: Stage, server: StandIn
) -> None:
    url = f"url='{server.url}'"
    warned = look(
        stage,
        f"lookup('tenant', 'a', {url}, errors='warn') is none",
        f"query('tenant', 'a', {url}, errors='warn')",
    )
    assert found(warned) == [True, []]
    assert "has no database telemetry_a yet" in warned.output
    ignored = look(stage, f"lookup('tenant', 'a', {url}, errors='ignore') is none")
    assert found(ignored) == [True]
    assert "telemetry_a" not in ignored.output


def test_what_it_is_told_is_checked(stage: Stage, server: StandIn) -> None:
    wrong = {
        "lookup('tenant', 'a', confg='x')": "unknown option: confg",
        "lookup('tenant', 'a', token='x')": "without the `url`",
        f"lookup('tenant', 'a', url='{server.url}', config='x')": "mutually exclusive",
        "lookup('tenant', 'a', targets={})": "`targets` is empty",
        "lookup('tenant', 'a', config='/no/such.toml')": "/no/such.toml",
        "lookup('tenant', 4.2, url='http://localhost:1')": "quotes",
        f"lookup('tenant', 'a', url='{server.url}', timeout=-1)": "`timeout` is negative",
        "lookup('tenant', 'a', targets={'x': {'url': 'http://x', 'token': 'in_clear'}})": (
            "`token` of targets.x"
        ),
    }
    told = failures(look(stage, *wrong))
    for (call, why), message in zip(wrong.items(), told, strict=True):
        assert why in message, (call, message)


@pytest.mark.parametrize("library", ["msgspec", "influxops_ansible"])
def test_a_controller_without_a_library_says_which_and_for_which_python(
    stage: Stage, library: str
) -> None:
    shadow = stage.folder / "shadow"
    shadow.mkdir()
    shadow.joinpath(f"{library}.py").write_text(
        f'raise ModuleNotFoundError("No module named {library!r}", name="{library}")\n'
    )
    (why,) = failures(
        look(stage, f"lookup('tenant', 'a', url='{NOWHERE}')", environment=_path(shadow))
    )
    assert f"library {library.removesuffix('_ansible')} is missing" in why
    assert sys.executable in why
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in why


def test_an_influxops_on_the_controller_that_is_too_old_is_not_used(stage: Stage) -> None:
    old = stage.folder / "old"
    old.mkdir()
    old.joinpath("influxops_ansible.py").write_text('__version__ = "0.0.9"\n')
    (why,) = failures(
        look(stage, f"lookup('tenant', 'a', url='{NOWHERE}')", environment=_path(old))
    )
    assert "needs influxops 0.1.0 or newer" in why
    assert "has 0.0.9" in why


def _path(folder: Any) -> dict[str, str]:
    return {"PYTHONPATH": str(folder)}


def test_what_it_needs_and_returns_is_what_is_documented(stage: Stage, server: StandIn) -> None:
    tree = ast.parse(_PLUGIN.read_text(encoding="utf-8"))
    said = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    documentation = yaml.safe_load(ast.literal_eval(said["DOCUMENTATION"]))
    returned = yaml.safe_load(ast.literal_eval(said["RETURN"]))["_raw"]["contains"]
    assert {"_terms", *ast.literal_eval(said["OPTIONS"])} == documentation["options"].keys()
    create(server, "telemetry_a")
    (one,) = found(look(stage, f"lookup('tenant', 'a', url='{server.url}')"))
    assert one.keys() == returned.keys()
    # The modules need the same influxops, and the same Python.
    shared = (ROOT / "ansible/module_utils/influx_tenants.py").read_text(encoding="utf-8")
    for name in ("INFLUXOPS", "PYTHON"):
        assert f"\n{name} = {ast.unparse(said[name]).replace(chr(39), chr(34))}\n" in shared
