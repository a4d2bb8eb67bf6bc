#!/usr/bin/python

# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: influx_tenant_db_info
short_description: Tell what tenants have in InfluxDB 3
version_added: 0.1.0
description:
  - Tells of each tenant where its InfluxDB 3 database is and what is in it, and of each server
    what it is and how many more databases it holds. Changes nothing.
  - It fails only where something could not be read. What is not as it should be is in
    RV(findings); a play decides what that means.
author:
  - Contributors to influxops (!UNKNOWN)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.actiongroups
attributes:
  check_mode:
    support: full
    details:
      - It only reads.
  diff_mode:
    support: N/A
    details:
      - It changes nothing.
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
  unreachable:
    description:
      - What becomes of the task when a server cannot be reached; V(warn) returns what could be
        read elsewhere.
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
  - module: influxops.influxdb3.influx_tenant_db
"""

EXAMPLES = r"""
- name: Look at one tenant
  influxops.influxdb3.influx_tenant_db_info:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    tenant: acme
  register: acme

- name: Look at every tenant of the registry, from the host that may reach it
  influxops.influxdb3.influx_tenant_db_info:
    config: /etc/influxops/influxops.toml
  delegate_to: ops.example
  register: audit

- name: Fail if anything needs a decision
  ansible.builtin.assert:
    that: audit.findings | selectattr('severity', 'ne', 'info') | length == 0
"""

RETURN = r"""
databases:
  description: One entry a tenant, in the order of the sources. V(null) is what is not known.
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant's id.
      type: str
      sample: acme
    target:
      description: The target that holds its database; V(null) where there is none.
      type: str
      sample: default
    url:
      description: That target's URL.
      type: str
      sample: https://influx.example:8181
    database:
      description: The database's name; empty where no valid one can be made.
      type: str
      sample: telemetry_acme
    exists:
      description: Whether it is there.
      type: bool
      sample: true
    marker:
      description: Whether the marker table C(_init) is there; V(unknown) where the token may not
        read that.
      type: bool
      sample: true
    retention:
      description: Its retention period; V(none) without one.
      type: str
      sample: 30d
    desired:
      description: The retention period that it should have, or V(unmanaged).
      type: str
      sample: 30d
    telemetry_count:
      description: Rows in the table C(telemetry); 0 without that table.
      type: int
      sample: 1250
    last_write:
      description: Newest time in the table C(telemetry), in UTC.
      type: str
      sample: "2026-01-31T12:00:00Z"
    message:
      description: Why something could not be told, or is not as it should be.
      type: str
      sample: ""
targets:
  description: One entry a target.
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  contains:
    name:
      description: Its name; V(default) for that of O(url).
      type: str
      sample: default
    kind:
      description: Its kind.
      type: str
      sample: influxdb3
    url:
      description: Its URL.
      type: str
      sample: https://influx.example:8181
    reachable:
      description: Whether it could be read.
      type: bool
      sample: true
    state:
      description: V(active) or V(draining).
      type: str
      sample: active
    edition:
      description: The server's edition.
      type: str
      sample: Core
    version:
      description: The server's version.
      type: str
      sample: 3.10.0
    cluster_uuid:
      description: The server's identity.
      type: str
      sample: 2f8a9e0b-6f9b-4d5c-8f5e-0a7d1f5b9c11
    databases:
      description: How many databases it holds.
      type: int
      sample: 4
    capacity:
      description: How many it can hold; V(null) where no limit is known.
      type: int
      sample: 5
    capacity_is_estimate:
      description: Whether that is guessed from its edition.
      type: bool
      sample: true
    places_left:
      description: How many more databases fit; V(null) where no limit is known.
      type: int
      sample: 1
    error:
      description: Why it could not be read.
      type: str
      sample: ""
findings:
  description: What was noticed, each with C(kind), C(severity), C(message), C(hint), C(tenant),
    C(target) and C(database).
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  sample: []
summary:
  description: Tenants by state, changes that a run would make by action, findings by severity.
  returned: always, unless the parameters or the configuration are wrong
  type: dict
  sample:
    tenants: {"pending": 1, "ok": 11}
    planned: {"create": 1}
    changed: {}
    findings: {}
"""

import os
import re
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    from influxops_ansible import look
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
    result = look(module.params)
    values = dict(result.values, invocation={"module_args": dict(module.params, **hidden)})
    for warning in result.warnings:
        module.warn(warning)
    if result.failure:
        module.fail_json(msg=result.failure, **values)
    module.exit_json(changed=False, **values)


if __name__ == "__main__":
    main()
