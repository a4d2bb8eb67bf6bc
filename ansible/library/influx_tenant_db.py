#!/usr/bin/python

# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: influx_tenant_db
short_description: Give tenants their InfluxDB 3 databases
version_added: 0.1.0
description:
  - Makes sure that each tenant has its own InfluxDB 3 database, with its marker and, where that is
    managed, its retention period. Or drops the databases of tenants that the task names.
  - One plan is made of what is desired and what the servers hold. It gives C(changed), the diff
    and the result; check mode is that same plan, not carried out. Afterwards the servers are read
    again, and that is what calls a change good.
  - One task does any number of tenants with one pool of connections. There is no need for a loop.
author:
  - Contributors to influxops (!UNKNOWN)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.actiongroups
attributes:
  check_mode:
    support: full
    details:
      - What cannot be read is never predicted; see O(unreachable). Nor is what may find no place
        on a server whose capacity is an estimate; such a task fails and names those tenants.
  diff_mode:
    support: full
    details:
      - Before and after of exactly the databases that change.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation
        indicates no change.
    support: full
  platform:
    platforms: posix
    support: full
  action_group:
    support: full
    membership:
      - influxops.influxdb3.influx
options:
  url:
    description:
      - URL of the only InfluxDB 3 server, with a path where a reverse proxy has put it under one.
      - Without it, the environment variable E(INFLUXDB_URL) counts, unless O(config) or O(targets)
        is given.
    type: str
  token:
    description:
      - Admin token of the server at O(url). Leave it out for a server without authorization.
      - Without it, the environment variable E(INFLUXDB_TOKEN) counts.
    type: str
  config:
    description:
      - Path of an C(influxops.toml). Its targets, naming, placement, reporters and sources are
        used. Tenants that the task names join those of the sources, and what a source says of
        one of them (C(database), C(target), C(retention)) counts unless the task says otherwise.
        A O(source) takes the place of the file's.
      - A relative path is relative to the folder that the module runs in, which is the playbook's
        own with a local connection and the user's home folder with SSH. Better give an absolute
        one.
      - Environment variables win over the file, as they do for the C(influxops) command.
    type: path
  targets:
    description:
      - The servers, by name, with the keys of a C([targets.NAME]) section of C(influxops.toml).
        C(kind) is V(influxdb3) if left out. Each has a C(url); there is one at least.
      - A token is a dictionary that says where it is, in C(env), an environment variable, or in
        C(file), a path. A literal is refused.
    type: dict
  validate_certs:
    description:
      - Whether the TLS certificate of the server at O(url) is verified. It is, unless this is
        V(false).
    type: bool
  ca_path:
    description:
      - File or folder of CA certificates to trust instead of the system's, for O(url).
    type: path
  client_cert:
    description:
      - File of the client certificate, in PEM, for O(url).
    type: path
  client_key:
    description:
      - File of the client certificate's key, in PEM, where it is not in O(client_cert).
    type: path
  tenant:
    description:
      - Id of one tenant. Text; an id that YAML would take for a number or a boolean is quoted.
    type: raw
  tenants:
    description:
      - Tenants, each an id, or a dictionary with C(id) and any of C(retention), C(target) and
        C(database), which win over O(retention), the placement and O(name_template). No other
        key is taken.
      - An empty list asks for nothing.
    type: list
    elements: raw
  source:
    description:
      - A tenant source, with C(kind) and the keys of a C([sources.NAME]) section of
        C(influxops.toml), so that one task does a whole registry.
      - The kind V(postgres) reads C(PG_*) variables as the C(influxops) command does. What the
        task says wins over them.
      - A secret is a dictionary that says where it is, in C(env), an environment variable, or in
        C(file), a path. A literal is refused.
    type: dict
  name_template:
    description:
      - Name of a tenant's database; V({tenant_id}) stands for the id. C(telemetry_{tenant_id}) if
        left out.
      - With O(config), the file says it.
    type: str
  retention:
    description:
      - Retention period that tenants have by default, V(30d) for instance; V(none) keeps data for
        ever. Left out, the period is what O(config) says, and else not managed.
    type: str
  state:
    description:
      - V(present) makes what is missing and leaves alone what is there.
      - V(absent) drops the databases of the tenants that the task names, and needs
        O(allow=drop). Without that the task fails and lists what it would drop. The name is free at
        once; the server keeps the data for 72 more hours.
    type: str
    choices: [present, absent]
    default: present
  allow:
    description:
      - What is done although it may lose or double data. The task fails where one of these is
        needed and not given.
      - V(unreachable) creates a database while another target that may hold it cannot be read, and
        with O(state=absent) drops what is on the others.
      - V(shorter-retention) shortens a retention period, which hides older data at once.
      - V(empty-source) accepts a registry without tenants while tenant databases exist.
      - V(drop) drops databases, with O(state=absent).
    type: list
    elements: str
    choices: [unreachable, shorter-retention, empty-source, drop]
    default: []
  unreachable:
    description:
      - What becomes of a task in check mode when a server cannot be reached, V(warn) for a play
        that has yet to install it. Outside
        check mode the task fails in either case.
    type: str
    choices: [fail, warn]
    default: fail
  timeout:
    description:
      - Seconds that the task may take. Left out, or V(0), it is what O(config) says, and else 900.
    type: int
requirements:
  - Python >= 3.11 on the host that runs the module
  - influxops >= 0.1.0 there (C(pip install .) in a checkout of influxops)
notes:
  - Environment variables and paths, those inside O(source), O(targets) and O(config) too, are those
    of the host that runs the module. C(delegate_to) chooses that host.
  - If E(INFLUXDB_URL) or E(INFLUXDB_TOKEN) is set there, it does not count as a parameter of the
    task, so that O(config) and O(targets) can be used next to it.
seealso:
  - module: influxops.influxdb3.influx_tenant_db_info
"""

EXAMPLES = r"""
- name: Give a tenant its database before its service starts
  influxops.influxdb3.influx_tenant_db:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    tenant: acme

- name: Give every tenant of the registry its database
  influxops.influxdb3.influx_tenant_db:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    source:
      kind: postgres
      host: registry.example
      password:
        env: REGISTRY_PASSWORD
  delegate_to: localhost
  run_once: true

- name: Do the same from the host that holds the configuration and its secrets
  influxops.influxdb3.influx_tenant_db:
    config: /etc/influxops/influxops.toml
  delegate_to: ops.example

- name: Place tenants on two servers, one of them with a retention period of its own
  influxops.influxdb3.influx_tenant_db:
    targets:
      eu1:
        url: https://eu1.example:8181
        token:
          file: /etc/influxops/eu1.token
      us1:
        url: https://us1.example:8181
        token:
          file: /etc/influxops/us1.token
        capacity: 100
    tenants:
      - acme
      - id: globex
        retention: 90d
        target: us1

- name: See what would be made, before the server itself is there
  influxops.influxdb3.influx_tenant_db:
    url: http://new-server.example:8181
    tenants: [acme, globex]
    unreachable: warn
  check_mode: true

- name: Retire a tenant
  influxops.influxdb3.influx_tenant_db:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    tenant: acme
    state: absent
    allow: [drop]
"""

RETURN = r"""
databases:
  description:
    - One entry a tenant and target, in the order of the sources. Returned on failure too, as far as
      it is known.
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant's id.
      type: str
      sample: acme
    database:
      description: The database's name; empty where no valid one can be made.
      type: str
      sample: telemetry_acme
    target:
      description: The target that holds it, or would; V(null) where there is none.
      type: str
      sample: default
    url:
      description: That target's URL.
      type: str
      sample: https://influx.example:8181
    action:
      description:
        - What was done, tried, refused, or would be done, V(create), V(set-retention),
          V(add-marker) or V(drop); two of them are joined with V(+). V(keep) where the database
          is right, V(none) where there is none and nothing can be done.
      type: str
      sample: create
    changed:
      description: Whether this database was changed, or would be.
      type: bool
      sample: true
    state:
      description:
        - Where the tenant stands, V(ok), V(changed), V(pending) (check mode), V(held), V(refused),
          V(failed) or V(unknown).
      type: str
      sample: changed
    before:
      description:
        - The database before the task; V(null) where there was none. C(retention) is in seconds,
          V(null) without a period. What the token may not read is V(unknown).
      type: dict
      sample: null
    after:
      description: The database after the task, or as it would be; V(null) where it is gone.
      type: dict
      sample: {"name": "telemetry_acme", "retention": null, "marker": true, "telemetry": false}
    message:
      description: Why it is not as it should be.
      type: str
      sample: ""
findings:
  description: What was noticed, each with C(kind), C(severity), C(message), C(hint), C(tenant),
    C(target) and C(database). Only those of severity V(error) fail the task.
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  sample: []
summary:
  description: Tenants by state, changes planned and made by action, findings by severity.
  returned: always, unless the parameters or the configuration are wrong
  type: dict
  sample:
    tenants: {"changed": 1, "ok": 11}
    planned: {"create": 1}
    changed: {"create": 1}
    findings: {}
"""

import os
import re
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    from influxops_ansible import ensure
except ImportError:
    IMPORT_ERROR = traceback.format_exc()
else:
    IMPORT_ERROR = None


def arguments():
    """Give the argument specification."""
    return {
        "url": {"type": "str", "fallback": (env_fallback, ["INFLUXDB_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["INFLUXDB_TOKEN"])},
        "config": {"type": "path"},
        # The engine refuses literal secrets in these two. Until then nothing of them is shown.
        "targets": {"type": "dict", "no_log": True},
        "source": {"type": "dict", "no_log": True},
        "validate_certs": {"type": "bool"},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        # The path of a key is no secret.
        "client_key": {"type": "path", "no_log": False},
        "tenant": {"type": "raw"},
        "tenants": {"type": "list", "elements": "raw"},
        "name_template": {"type": "str"},
        "retention": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "allow": {
            "type": "list",
            "elements": "str",
            "choices": ["unreachable", "shorter-retention", "empty-source", "drop"],
            "default": [],
        },
        "unreachable": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        "timeout": {"type": "int"},
    }


def exclusions():
    """Give the parameters that exclude each other.

    Ansible applies fallbacks before it looks at these, so that a variable of the environment
    would exclude what the task itself says. Where one is set, influxops_ansible refuses what
    the task says beside it.
    """
    own = ["validate_certs", "ca_path", "client_cert", "client_key"]
    variables = {"url": "INFLUXDB_URL", "token": "INFLUXDB_TOKEN"}
    own += [name for name, variable in variables.items() if variable not in os.environ]
    return [
        ("tenant", "tenants", "source"),
        ("config", "targets"),
        ("config", "name_template"),
    ] + [(name, other) for name in own for other in ("config", "targets")]


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments(),
        supports_check_mode=True,
        mutually_exclusive=exclusions(),
        required_one_of=[
            ("url", "config", "targets"),
            ("tenant", "tenants", "source", "config"),
        ],
        required_if=[("state", "absent", ("tenant", "tenants"), True)],
        required_by={"client_key": "client_cert"},
    )
    if IMPORT_ERROR:
        module.fail_json(
            msg=missing_required_lib("influxops")
            + f". To install it, run `{sys.executable} -m pip install .` in a checkout of influxops"
            " there (it needs Python 3.11 or newer).",
            exception=IMPORT_ERROR,
        )
    # Names and URLs inside `targets` and `source` may be in the result; their own values are
    # hidden where Ansible repeats the task's parameters.
    module.no_log_values.intersection_update([module.params["token"]])
    hidden = {
        name: "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        for name in ("token", "targets", "source")
        if module.params[name] is not None
    }
    if module.params["url"] is not None:
        # It is refused with a password in it, and not to be repeated for that.
        hidden["url"] = re.sub("//[^/]*@", "//********@", module.params["url"])
    result = ensure(module.params, check_mode=module.check_mode)
    values = dict(result.values, invocation={"module_args": dict(module.params, **hidden)})
    if not module._diff:
        values.pop("diff", None)
    for warning in result.warnings:
        module.warn(warning)
    if result.failure:
        module.fail_json(msg=result.failure, **values)
    module.exit_json(**values)


if __name__ == "__main__":
    main()
