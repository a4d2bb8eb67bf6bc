#!/usr/bin/python

# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: influx_tenant_db_info
short_description: Return the state of tenants' InfluxDB 3 databases
version_added: 0.1.0
description:
  - Returns for each tenant where its InfluxDB 3 database is and what is in it, and for each server
    its version and how many more databases it holds. Changes nothing.
  - It fails only where something could not be read. Other problems are in RV(findings), for the
    play to judge.
author:
  - Contributors to influxops (!UNKNOWN)
extends_documentation_fragment:
  - influx_tenants
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
options:
  unreachable:
    description:
      - Whether the task fails when a server cannot be reached; V(warn) returns what could be read
        from the others.
    type: str
    choices: [fail, warn]
    default: fail
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
  run_once: true
  register: audit

- name: Fail if anything needs a decision
  ansible.builtin.assert:
    that: audit.findings | selectattr('severity', 'ne', 'info') | length == 0
"""

RETURN = r"""
databases:
  description: One entry per tenant, in the order of the sources. V(null) is unknown. Where the task
    fails, only those of which something is unknown, unless O(details=all).
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant's id.
      type: str
      sample: acme
    target:
      description: The target that holds its database; V(null) where there is none or more than one.
      type: str
      sample: default
    url:
      description: That target's URL.
      type: str
      sample: https://influx.example:8181
    planned_target:
      description: Where a database that is not there would be made; V(null) where it is there.
      type: str
      sample: null
    database:
      description: The database's name; V(null) where no valid one can be formed.
      type: str
      sample: telemetry_acme
    exists:
      description: Whether it exists.
      type: bool
      sample: true
    marker:
      description: Whether the marker table C(_init) exists; V(unknown) where the token may not read
        it.
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
    rows:
      description: Rows in all tables but the marker's; V(null) where one was not counted.
      type: int
      sample: 1250
    tables: &tables
      description: Each of its tables but the marker's; V(null) where unknown.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the table.
          type: str
          sample: telemetry
        rows:
          description: Its rows; V(null) where unknown.
          type: int
          sample: 1250
        at_most:
          description: Whether there may be fewer.
          type: bool
          sample: false
        last_write:
          description: Newest time of a row, in UTC.
          type: str
          sample: "2026-01-31T12:00:00Z"
    last_write: &last_write
      description: Newest time of a row in any of them, in UTC.
      type: str
      sample: "2026-01-31T12:00:00Z"
    message:
      description: Why something is unknown, or not as it should be.
      type: str
      sample: ""
    copies:
      description:
        - Where the database is on more than one target, an entry for each. See
          O(influxops.influxdb3.influx_tenant_db#module:state) to drop one.
      type: list
      elements: dict
      contains:
        target:
          description: Name of the target.
          type: str
          sample: eu1
        rows:
          description: Rows in all tables there but the marker's.
          type: int
          sample: 1250
        tables: *tables
        last_write: *last_write
      sample: []
    created_at:
      description: When it was created, or first found, in UTC; V(null) without a ledger.
      type: str
      sample: "2026-01-01T08:00:00Z"
    ledger_state:
      description:
        - Its state in the ledger, V(pending), V(allocated), V(unconfirmed), V(ready), V(moving),
          V(retiring), V(retired) or V(lost); V(null) without a record.
      type: str
      sample: ready
    moving_to:
      description: The target that a move brings it to; V(null) where none is under way.
      type: str
      sample: null
targets:
  description: One entry per target.
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
    free_slots:
      description: How many more databases fit; V(null) where no limit is known.
      type: int
      sample: 1
    tables:
      description: How many tables all its databases have together; V(null) where unknown.
      type: int
      sample: 42
    table_capacity:
      description: How many tables it can hold, estimated; V(null) where no limit is known.
      type: int
      sample: 2000
    error:
      description: Why it could not be read.
      type: str
      sample: ""
omitted:
  description: How many entries a task that fails leaves out of RV(databases).
  returned: always, unless the parameters or the configuration are wrong
  type: int
  sample: 0
findings:
  description:
    - Problems and notes, with the fields of
      RV(influxops.influxdb3.influx_tenant_db#module:findings). The task fails for those about what
      could not be read.
  returned: always, unless a parameter is none that the module takes
  type: list
  elements: dict
  sample: []
summary:
  description:
    - Tenants by state, changes that a run would make by action, findings by severity, with the
      fields of RV(influxops.influxdb3.influx_tenant_db#module:summary). C(changed) is empty.
  returned: always, unless the parameters or the configuration are wrong
  type: dict
  sample:
    tenants: {"pending": 1, "ok": 11}
    planned: {"create": 1}
    changed: {}
    findings: {}
"""

from ansible.module_utils.influx_tenants import make, run

try:
    from influxops_ansible import gather
except Exception:  # `make` fails with the name of the missing library
    gather = None


def main():
    """Run the module."""
    module = make(unreachable={"type": "str", "choices": ["fail", "warn"], "default": "fail"})
    run(module, lambda: gather(module.params))


if __name__ == "__main__":
    main()
