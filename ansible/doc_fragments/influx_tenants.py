# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What both modules take."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - URL of the only InfluxDB 3 server, with a path where a reverse proxy has put it under one.
      - Without it, the environment variable E(INFLUXDB_URL) is used, unless O(config) or O(targets)
        is given.
    type: str
  token:
    description:
      - Admin token of the server at O(url). Leave it out for a server without authorization.
      - Without it, the environment variable E(INFLUXDB_TOKEN) is used.
    type: str
  config:
    description:
      - Path of an C(influxops.toml). Its targets, naming, placement, reporters and sources are
        used. Tenants that the task names join those of the sources, and a source's attributes of
        one of them (C(database), C(target), C(retention)) apply unless the task gives others. A
        O(source) replaces the file's sources.
      - A relative path is relative to the folder that the module runs in, which is the playbook's
        own with a local connection and the user's home folder with SSH. Better give an absolute
        one.
      - Environment variables win over the file, as they do for the C(influxops) command.
    type: path
  targets:
    description:
      - The servers, by name, with the keys of a C([targets.NAME]) section of C(influxops.toml).
        C(kind) is V(influxdb3) if left out. Each has a C(url); there is one at least.
      - A token is a dictionary that says where it is, in C(secret), a name in O(secrets), in
        C(env), an environment variable, or in C(file), a path. A literal is refused.
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
      - Id of one tenant. A whole number is taken as text. Quote an id that YAML reads otherwise
        than it is written, with leading zeros, a decimal point, or as a boolean.
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
      - The kind V(postgres) reads C(PG_*) variables as the C(influxops) command does. The keys that
        the task gives win over them.
      - A secret is a dictionary that says where it is, in C(secret), a name in O(secrets), in
        C(env), an environment variable, or in C(file), a path. A literal is refused.
    type: dict
  ledger:
    description:
      - The ledger, which records where each database was created, with the keys of the C([ledger])
        section of C(influxops.toml). C(kind) is V(postgres) if left out. C(influxops ledger
        install) creates it once.
      - The kind V(postgres) takes what it shares with a O(source) of that kind from there, and
        reads C(PG_*) variables as the C(influxops) command does.
      - A secret is a dictionary, as in O(source). With O(config), the file has the ledger.
    type: dict
  secrets:
    description:
      - Secrets that sections in O(targets), O(source) and O(ledger) refer to by name, as C(secret),
        in place of C(env) or C(file). Their values, from a vault for instance, are hidden by
        Ansible and are put into no file, no environment and no command line.
    type: dict
  name_template:
    description:
      - Name of a tenant's database; V({tenant_id}) stands for the id. C(telemetry_{tenant_id}) if
        left out.
      - With O(config), the file has it.
    type: str
  retention:
    description:
      - Retention period that tenants have by default, V(30d) for instance, or in seconds as this
        module returns it; V(none) keeps data for ever, V(unmanaged) does not change it. Left out,
        it is the one of O(config), and else not managed.
    type: str
  details:
    description:
      - Which RV(databases) a task that fails returns. V(problems) are those that are not as they
        should be; RV(omitted) counts the others. V(all) are all, which a task that does not fail
        returns in any case.
    type: str
    choices: [problems, all]
    default: problems
  timeout:
    description:
      - Seconds that the task may take. Left out, or V(0), it is the one of O(config), and else 900.
    type: int
attributes:
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
requirements:
  - Python 3.11 or newer on the host that runs the module
  - influxops 0.1.0 or newer there (C(pip install .) in a checkout of influxops)
notes:
  - Environment variables and paths, those inside O(source), O(targets) and O(config) too, are those
    of the host that runs the module. C(delegate_to) chooses that host.
  - If E(INFLUXDB_URL) or E(INFLUXDB_TOKEN) is set there, it is no parameter of the task, so that
    O(config) and O(targets) can be used next to it.
"""
