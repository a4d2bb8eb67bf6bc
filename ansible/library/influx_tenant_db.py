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
  - Ensures that each tenant has its own InfluxDB 3 database, with its marker and, where that is
    managed, its retention period. Or drops the databases of tenants that the task names.
  - One plan compares what is desired with what the servers hold. It gives C(changed), the diff and
    the result; check mode is that same plan, not executed. Afterwards the servers are read again,
    and only what that confirms is returned as changed.
  - One task does any number of tenants with one pool of connections. There is no need for a loop.
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
      - Nothing is predicted for what cannot be read; see O(unreachable). Nor for tenants that may
        exceed the estimated capacity of a server; a warning names them.
  diff_mode:
    support: full
    details:
      - Before and after of exactly the databases that change.
options:
  state:
    description:
      - V(present) creates what is missing and keeps what exists.
      - V(absent) drops the databases of the tenants that the task names, and needs
        O(allow=drop). Without that the task fails and lists what it would drop. The name is free at
        once; the server keeps the data for 72 more hours.
      - Of a database that is on more than one server, it drops only the copy on the C(target) that
        the task itself gives in O(tenants). It fails without one, whatever O(config) or a registry
        says of the tenant's target.
      - With a ledger, in O(ledger) or O(config), V(absent) retires them instead. Nothing is dropped
        before the time in O(after) has passed; C(influxops retire --due) does that, after all
        checks have passed again. V(present) unretires them until then.
    type: str
    choices: [present, absent]
    default: present
  after:
    description:
      - How long a database is kept with O(state=absent), V(7d) for instance, or in seconds. Left
        out, it is C(retire_after) of the ledger, which is V(7d) unless that says otherwise.
      - V(0) drops it now, and needs O(allow=drop). Without a ledger nothing else is possible, and
        it is V(0) if left out.
    type: str
  allow:
    description:
      - Changes to make although they may lose or duplicate data. The task fails where one of these
        is needed and not given.
      - V(unreachable) creates a database while another target that may hold it cannot be read, and
        with O(state=absent) drops what is on the others.
      - V(shorter-retention) shortens a retention period, which hides older data at once.
      - V(empty-source) accepts a registry without tenants while tenant databases exist.
      - V(drop) drops databases, with O(state=absent), or with V(recreate-lost) the database that a
        client has created in place of a lost one.
      - The others are about what a ledger remembers. V(recent-telemetry) retires a tenant although
        telemetry was written within the last day. V(still-registered) retires one that a source
        still has, which a task does in any case, with a warning. V(recreate-lost) creates a
        database again that was ready and is gone, and needs V(drop), too, where a client has
        created another one in its place. V(replaced-server) accepts another server than the
        recorded one.
        V(mass-change) accepts that many recorded tenants are created again, retired, or gone from
        the registry. V(new-source) accepts the tenants of a registry that is not recorded.
        V(unrecorded-changes) creates and drops while the ledger cannot be used. V(late-writes) is
        for C(influxops retire --due) alone, which drops the old copies of moved tenants.
    type: list
    elements: str
    choices:
      - unrecorded-changes
      - new-source
      - replaced-server
      - recreate-lost
      - unreachable
      - still-registered
      - recent-telemetry
      - late-writes
      - shorter-retention
      - empty-source
      - drop
      - mass-change
    default: []
  verify:
    description:
      - Whether the marker of each database is read back, at the cost of a request for each, and
        written again where a crash of its server has lost it. Use it once after a task that could
        not confirm its changes.
    type: bool
    default: false
  unreachable:
    description:
      - Whether a task in check mode fails when a server cannot be reached. Use V(warn) in a play
        that has yet to install it. Outside check mode the task fails in either case.
    type: str
    choices: [fail, warn]
    default: fail
  on_failure:
    description:
      - Whether the task fails when tenants are not as they should be after all others were done.
      - V(warn) makes a warning of that. The task keeps its diff and notifies its handlers;
        RV(not_as_desired) and RV(findings) have the tenants and the reasons.
      - It fails all the same for mistakes in its parameters or its configuration, for a lock that
        another run holds, and for a registry that cannot be read, or is empty, so that the tenants
        concerned are unknown.
    type: str
    choices: [fail, warn]
    default: fail
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
        secret: registry
    secrets:
      registry: "{{ registry_password }}"
  delegate_to: localhost
  run_once: true

- name: Do the same from the host that holds the configuration and its secrets
  influxops.influxdb3.influx_tenant_db:
    config: /etc/influxops/influxops.toml
  delegate_to: ops.example
  run_once: true

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

- name: See what would be created, before the server itself is installed
  influxops.influxdb3.influx_tenant_db:
    url: http://new-server.example:8181
    tenants: [acme, globex]
    unreachable: warn
  check_mode: true

- name: Drop a tenant's database now
  influxops.influxdb3.influx_tenant_db:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    tenant: acme
    state: absent
    allow: [drop]

- name: Retire a tenant, whose database is dropped in two weeks by `influxops retire --due`
  influxops.influxdb3.influx_tenant_db:
    url: https://influx.example:8181
    token: "{{ influxdb_admin_token }}"
    ledger:
      host: registry.example
      password:
        secret: registry
    secrets:
      registry: "{{ registry_password }}"
    tenant: acme
    state: absent
    after: 14d
"""

RETURN = r"""
databases:
  description:
    - One entry per tenant, in the order of the sources. Where the task fails, only those of tenants
      that are not as they should be, unless O(details=all).
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant's id.
      type: str
      sample: acme
    database:
      description: The database's name; empty where no valid one can be formed.
      type: str
      sample: telemetry_acme
    target:
      description: The target that holds it, or would; V(null) where there is none.
      type: str
      sample: default
    url:
      description:
        - That target's URL. V(null) unless the database exists, or the ledger has this target for
          it, because a server creates a database for any client that writes.
      type: str
      sample: https://influx.example:8181
    action:
      description:
        - The change that was made, attempted or refused, or would be made, V(create),
          V(set-retention), V(add-marker), V(drop), V(retire) or V(unretire); several are joined
          with V(+). V(keep) where the database is right, V(none) where there is none and no change
          is possible.
      type: str
      sample: create
    changed:
      description:
        - Whether this database was changed, or would be, even if not completed. V(null) where the
          result of an attempt is unknown, because its server cannot be read any more.
      type: bool
      sample: true
    until:
      description:
        - Until when the data of a tenant that is retiring, or whose database was dropped, is kept.
          V(null) for others, and where that is unknown.
      type: str
      sample: null
    status:
      description:
        - The tenant's status, V(ok), V(changed), V(pending) (check mode), V(blocked), V(guarded),
          V(failed) or V(unknown).
      type: str
      sample: changed
    before:
      description:
        - The database before the task; V(null) where there was none. What the token may not read is
          V(unknown).
      type: dict
      contains: &database
        name:
          description: Its name.
          type: str
          sample: telemetry_acme
        retention:
          description: Its retention period in seconds; V(null) without one, or V(unknown).
          type: raw
          sample: null
        marker:
          description: Whether its marker table exists, or V(unknown).
          type: raw
          sample: true
        telemetry:
          description: Whether telemetry has been written to it, or V(unknown).
          type: raw
          sample: false
      sample: null
    after:
      description:
        - The database after the task, or as it would be; V(null) where there is none, or where
          C(changed) is V(null).
      type: dict
      contains: *database
      sample: {"name": "telemetry_acme", "retention": null, "marker": true, "telemetry": false}
    message:
      description: Why it is not as it should be.
      type: str
      sample: ""
omitted:
  description: How many entries a task that fails leaves out of RV(databases).
  returned: always, unless the parameters or the configuration are wrong
  type: int
  sample: 0
not_as_desired:
  description: Ids of the tenants that are not as they should be.
  returned: always, unless the parameters or the configuration are wrong
  type: list
  elements: str
  sample: []
findings:
  description: Problems and notes. All that fails the task is here, with severity V(error).
  returned: always, unless a parameter is none that the module takes
  type: list
  elements: dict
  contains:
    kind:
      description: Its kind, for programs to compare.
      type: str
      sample: over-capacity
    severity:
      description: V(info), V(warning) or V(error).
      type: str
      sample: error
    message:
      description: What was found, and the tenant, target, source or reporter that it is about.
      type: str
      sample: "tenant 't6': no free slot: default is full (databases: 5)"
    hint:
      description: What to do about it.
      type: str
      sample: add a target, raise a capacity, or drop what is not needed
    tenant:
      description: Id of the tenant that it is about, if it is about one.
      type: str
      sample: t6
    target:
      description: Name of the target that it is about, if it is about one.
      type: str
      sample: default
    database:
      description: Name of the database that it is about, if it is about one.
      type: str
      sample: telemetry_t6
    source:
      description: Name of the source that it is about, if it is about one.
      type: str
      sample: null
    reporter:
      description: Name of the reporter that it is about, if it is about one.
      type: str
      sample: null
    facts:
      description:
        - The data behind the message. What is here depends on the kind.
      type: dict
      contains:
        copies:
          description: Of a database on more than one target, an entry for each.
          type: list
          elements: dict
          contains:
            target:
              description: Name of the target.
              type: str
              sample: eu1
            rows:
              description: Rows in all its tables; V(null) where unknown.
              type: int
              sample: 1250
            tables:
              description: Each table there but the marker's; V(null) where unknown.
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
                last_write: &last_write
                  description: Newest time of a row, in UTC.
                  type: str
                  sample: "2026-01-31T12:00:00Z"
            last_write: *last_write
        to_create:
          description: How many databases are to be created on a target that may not hold them all.
          type: int
          sample: 7
        left:
          description: How many more it holds by its estimated capacity.
          type: int
          sample: 5
        without_slot:
          description: How many tenants have no slot on any target.
          type: int
          sample: 2
        beyond:
          description: How many tenants may exceed its capacity.
          type: int
          sample: 2
        target:
          description: The target of a database that belongs to no tenant.
          type: str
          sample: eu1
      sample: {}
summary:
  description: Tenants by status, changes planned and made by action, findings by severity.
  returned: always, unless the parameters or the configuration are wrong
  type: dict
  contains:
    tenants:
      description: Tenants by RV(databases[].status); a status that none has is left out.
      type: dict
      contains:
        ok: &number
          description: How many there are.
          type: int
          sample: 1
        changed: *number
        pending: *number
        blocked: *number
        guarded: *number
        failed: *number
        unknown: *number
    planned:
      description: Changes that were planned, or are predicted in check mode, by action.
      type: dict
      contains: &actions
        create: *number
        set-retention: *number
        add-marker: *number
        drop: *number
        retire: *number
        unretire: *number
    changed:
      description: Changes that were made, by action.
      type: dict
      contains: *actions
    findings:
      description: Findings by severity; one without any is left out.
      type: dict
      contains:
        info: *number
        warning: *number
        error: *number
  sample:
    tenants: {"changed": 1, "ok": 11}
    planned: {"create": 1}
    changed: {"create": 1}
    findings: {}
"""

from ansible.module_utils.influx_tenants import make, run

try:
    from influxops_ansible import ensure
except Exception:  # `make` fails with the name of the missing library
    ensure = None


def main():
    """Run the module."""
    module = make(
        required_if=[("state", "absent", ("tenant", "tenants"), True)],
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        allow={
            "type": "list",
            "elements": "str",
            "choices": [
                "unrecorded-changes",
                "new-source",
                "replaced-server",
                "recreate-lost",
                "unreachable",
                "still-registered",
                "recent-telemetry",
                "late-writes",
                "shorter-retention",
                "empty-source",
                "drop",
                "mass-change",
            ],
            "default": [],
        },
        after={"type": "str"},
        verify={"type": "bool", "default": False},
        unreachable={"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        on_failure={"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    )
    run(module, lambda: ensure(module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
