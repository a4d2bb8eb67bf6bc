"""What the modules take, refuse and hide."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from influxops.reconcile.guards import GUARDS
from influxops_devserver.testing import StandIn, running_stand_in
from tests.ansible.conftest import NOWHERE, ROOT, Stage, databases, documented, return_values

MODULES = sorted((ROOT / "ansible/library").glob("*.py"))
SHARED = sorted(ROOT.glob("ansible/*s/*.py"))


def test_what_excludes_or_needs_something_else_is_refused(stage: Stage) -> None:
    url, config = {"url": NOWHERE}, {"config": "influxops.toml"}
    refused: list[tuple[dict[str, Any], str]] = [
        ({**url, **config, "tenant": "a"}, "mutually exclusive"),
        ({"targets": {}, "tenant": "a"}, "`targets` is empty"),
        ({"targets": {"a": {"capacity": 5}}, "tenant": "a"}, "`targets.a` has no `url`"),
        ({"targets": {"a": {**url, "token": {"secret": "x"}}}, "tenant": "a"}, "`secrets`"),
        ({**url, "tenants": [{"id": "a", "retension": "1d"}]}, "did you mean retention?"),
        ({**url, "tenants": ["a", {"tenant_id": "b"}]}, "item 2"),
        ({**url, "tenant": {"id": "a"}}, "`tenant` is one id"),
        ({**url, "tenant": ""}, "a tenant's id is empty"),
        ({**url, "tenants": [" "]}, "a tenant's id is empty"),
        ({**url, "tenant": "a", "timeout": -1}, "`timeout` is negative"),
        ({**url, "tenant": "a", "token": {"env": "TOKEN"}}, "not a dictionary"),
        ({**url, "tenants": [], "retention": "soon"}, "retention"),
        ({"targets": {"a": {**url, "token": "apiv3_x"}}, "tenants": []}, "`token` of targets.a"),
        ({**url, "targets": {"a": {}}, "tenant": "a"}, "mutually exclusive"),
        ({**config, "targets": {"a": {}}, "tenant": "a"}, "mutually exclusive"),
        ({**config, "token": "apiv3_x"}, "mutually exclusive"),
        ({**config, "name_template": "x_{tenant_id}"}, "mutually exclusive"),
        ({**config, "ca_path": "ca.pem"}, "mutually exclusive"),
        ({**config, "validate_certs": False}, "mutually exclusive"),
        ({**url, "tenant": "a", "tenants": ["b"]}, "mutually exclusive"),
        ({**url, "tenant": "a", "source": {"kind": "static"}}, "mutually exclusive"),
        ({**url}, "one of the following is required: tenant, tenants, source, config"),
        ({"tenant": "a"}, "one of the following is required: url, config, targets"),
        ({**config, "state": "absent"}, "any of the following are missing: tenant, tenants"),
        ({**url, "tenant": "a", "client_key": "key.pem"}, "required by 'client_key': client_cert"),
        ({**url, "tenant": "a", "allow": ["everything"]}, "value of allow must be one or more of"),
        ({**url, "source": {}}, "kind"),
        ({**url, "source": {"kind": "postgres", "hoost": "x"}}, "did you mean host?"),
        ({**url, "source": {"kind": "postgres", "password": "x"}}, "`password` of source"),
        ({**url, "source": {"kind": "postgres", "dsn": "postgresql://u:p@h/d"}}, "`dsn` of source"),
        ({**url, "tenant": "a", "retention": "soon"}, "retention"),
        ({**url, "tenant": "a", "name_template": "fixed"}, "`name_template`"),
        ({**url, "tenant": "a", "name_template": "a b{tenant_id}"}, "`name_template`"),
        ({**url, "tenant": "a", "retention": "1s"}, "`retention`"),
        ({"url": "https://localhost:1", "tenant": "a", "ca_path": "/no/ca"}, "/no/ca"),
        ({"url": "https://localhost:1", "tenant": "a", "client_cert": "/no/cert"}, "/no/cert"),
    ]
    results = stage.tasks(*({"influx_tenant_db": parameters} for parameters, _ in refused)).results
    for (parameters, why), result in zip(refused, results, strict=True):
        assert result["failed"], parameters
        assert why in result["msg"], (parameters, result["msg"])
        # A task is written in YAML, and has no sections.
        assert not re.search(r"\[[a-z]|\b\w+ = ", result["msg"]), result["msg"]


def test_the_environment_gives_url_and_token_and_stands_back_for_what_the_task_says(
    stage: Stage, server: StandIn
) -> None:
    (stage.folder / "influxops.toml").write_text(
        f'[targets.a]\nkind = "influxdb3"\nurl = "{server.url}"\n'
        f'[targets.b]\nkind = "influxdb3"\nurl = "{NOWHERE}"\nretries = 0\n'
    )
    config = str(stage.folder / "influxops.toml")
    from_environment = stage.tasks(
        {"influx_tenant_db": {"tenant": "a"}},
        environment={"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": "apiv3_any"},
    ).result
    assert from_environment["databases"][0]["url"] == server.url
    said, targets, file = stage.tasks(
        {"influx_tenant_db": {"tenant": "a", "url": server.url}},
        {"influx_tenant_db": {"tenant": "a", "targets": {"x": {"url": server.url}}}},
        {"influx_tenant_db_info": {"tenant": "a", "config": config, "unreachable": "warn"}},
        environment={"INFLUXDB_URL": NOWHERE, "INFLUXDB_TOKEN": "apiv3_any"},
    ).results
    for result in (said, targets, file):
        assert not result["failed"], result["msg"]
        assert result["databases"][0]["url"] == server.url


def test_what_the_task_says_beside_a_configuration_is_refused_whatever_the_environment_says(
    stage: Stage, server: StandIn
) -> None:
    (stage.folder / "influxops.toml").write_text("")
    for result in stage.tasks(
        {"influx_tenant_db": {"tenant": "a", "config": "influxops.toml", "url": NOWHERE}},
        {"influx_tenant_db": {"tenant": "a", "targets": {"x": {"url": NOWHERE}}, "url": NOWHERE}},
        {"influx_tenant_db_info": {"tenant": "a", "config": "influxops.toml", "token": "apiv3_x"}},
        environment={"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": "apiv3_any"},
    ).results:
        assert result["failed"]
        assert "mutually exclusive" in result["msg"]


def test_a_wrong_token_and_a_spent_timeout_are_told_in_the_words_of_a_task(stage: Stage) -> None:
    with (
        running_stand_in(with_auth=True) as guarded,
        socket.create_server(("127.0.0.1", 0)) as mute,
    ):
        wrong, slow, late = stage.tasks(
            {"influx_tenant_db": {"url": guarded.url, "token": "apiv3_wrong", "tenant": "a"}},
            *(
                {
                    "influx_tenant_db": {
                        "url": f"http://127.0.0.1:{mute.getsockname()[1]}",
                        "tenant": "a",
                        "timeout": 1,
                        "unreachable": unreachable,
                    },
                    "check_mode": True,
                }
                for unreachable in ("fail", "warn")
            ),
        ).results
    assert "the parameter `token` (or INFLUXDB_TOKEN)" in wrong["msg"]
    assert "INFLUX_TENANT_DB_TOKEN" not in str(wrong)
    assert slow["failed"]
    assert "`timeout`" in slow["msg"]
    assert "--timeout" not in str(slow)
    assert not late["failed"], late["msg"]
    assert not late["changed"]


def test_a_password_in_a_url_is_not_repeated(stage: Stage) -> None:
    played = stage.tasks(
        {"influx_tenant_db": {"url": "http://u:in_the_url@localhost:1", "tenant": "a"}},
        arguments=["-vvv"],
    )
    assert played.result["failed"]
    assert "in_the_url" not in played.output + str(played.results)


def test_no_secret_is_repeated_not_even_a_misplaced_one(
    stage: Stage, server: StandIn, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("apiv3_in_a_file\n")
    fine = {"x": {"url": server.url, "token": {"file": str(token_file)}}}
    literal = {"x": {"url": server.url, "token": "apiv3_literal"}}
    password = {"kind": "postgres", "password": "literal_password"}
    dsn = {"kind": "postgres", "dsn": "postgresql://iot:literal_in_dsn@localhost/iot"}
    played = stage.tasks(
        {"influx_tenant_db": {"url": server.url, "token": "apiv3_given", "tenant": "a"}},
        {"influx_tenant_db": {"targets": fine, "tenant": "a"}},
        {"influx_tenant_db": {"targets": literal, "tenant": "a"}},
        {"influx_tenant_db": {"url": server.url, "source": password}},
        {"influx_tenant_db": {"url": server.url, "source": dsn}},
        {"influx_tenant_db": {"url": server.url, "source": password, "tenant": "a"}},
        {"influx_tenant_db": {"url": server.url, "source": password, "misspelt": 1}},
        {"influx_tenant_db_info": {"targets": literal, "tenant": "a"}},
        arguments=["-vvv"],
    )
    assert [result["failed"] for result in played.results] == [False, False, *[True] * 6]
    told = played.output + str(played.results)
    for secret in ("apiv3_given", "in_a_file", "apiv3_literal", "literal_password", "in_dsn"):
        assert secret not in told
    assert "`token` of targets.x" in played.results[2]["msg"]
    # What is no secret stays readable.
    assert played.results[1]["databases"][0]["url"] == server.url


def test_without_influxops_the_failure_says_how_to_install_it(stage: Stage, tmp_path: Path) -> None:
    venv = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin/python")
    for result in stage.tasks(
        *(
            {
                module.stem: {"url": NOWHERE, "tenant": "a"},
                "vars": {"ansible_python_interpreter": python},
            }
            for module in MODULES
        )
    ).results:
        assert result["failed"]
        assert "(influxops)" in result["msg"]
        assert f"run `{python} -m pip install .`" in result["msg"]
        assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in result["msg"]


@pytest.mark.parametrize("library", ["msgspec", "pluggy", "psycopg", "urllib3"])
def test_a_host_without_a_library_says_which_and_for_which_python(
    stage: Stage, tmp_path: Path, library: str
) -> None:
    venv, path = tmp_path / "bare", tmp_path / "path"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    path.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for entry in (*installed.iterdir(), *ROOT.glob("plugins/*"), ROOT / "influxops"):
        if not entry.name.startswith((library, f"_{library}", "__")):
            path.joinpath(entry.name).symlink_to(entry)
    python = str(venv / "bin/python")
    result = stage.tasks(
        {
            "influx_tenant_db": {"url": NOWHERE, "source": {"kind": "postgres"}},
            "vars": {"ansible_python_interpreter": python},
            "environment": {"PYTHONPATH": str(path)},
        }
    ).result
    assert result["failed"]
    assert f"({library})" in result["msg"]
    assert f"run `{python} -m pip install .`" in result["msg"]


def test_an_influxops_that_is_too_old_is_not_used(stage: Stage) -> None:
    old = stage.folder / "old/influxops_ansible.py"
    old.parent.mkdir()
    old.write_text('__version__ = "0.0.9"\n')
    result = stage.tasks(
        {"influx_tenant_db": {"url": NOWHERE, "tenant": "a"}},
        environment={"PYTHONPATH": str(old.parent)},
    ).result
    assert result["failed"]
    assert "needs influxops 0.1.0 or newer" in result["msg"]
    assert "has 0.0.9" in result["msg"]


@pytest.mark.parametrize("module", [*MODULES, *SHARED], ids=lambda path: str(path.stem))
def test_a_module_parses_on_an_old_python(module: Path) -> None:
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_every_guard_can_be_allowed() -> None:
    options = documented(ROOT / "ansible/library/influx_tenant_db.py", "DOCUMENTATION")["options"]
    # A task imports nothing.
    assert options["allow"]["choices"] == [name for name in GUARDS if name != "overwrite"]


def test_exactly_what_is_returned_is_documented(stage: Stage, server: StandIn) -> None:
    results = stage.tasks(
        *({module.stem: {"url": server.url, "tenants": ["a", "b"]}} for module in MODULES),
        *({module.stem: {"url": server.url, "tenants": []}} for module in MODULES),
    ).results
    of_ansible = {"changed", "failed", "diff", "invocation", "ansible_facts", "warnings"}
    for module, result in zip([*MODULES, *MODULES], results, strict=True):
        returned = return_values(module.stem)
        assert result.keys() - of_ansible == returned.keys()
        for name in ("databases", "targets"):
            for entry in result.get(name, ()):
                assert entry.keys() == returned[name]["contains"].keys()
        assert all(f.keys() == returned["findings"]["contains"].keys() for f in result["findings"])
        for name in returned["summary"]["sample"]:
            assert name in result["summary"]
    assert databases(server) == ["telemetry_a", "telemetry_b"]
