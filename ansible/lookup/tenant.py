# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tenant
short_description: Look up where a tenant's InfluxDB 3 database is
version_added: 0.1.0
description:
  - Returns the server and the database of each tenant that is named, for the configuration of a
    service that writes or reads there. Changes nothing.
  - The registry and the servers are read once for all terms. They are read again at each use of a
    variable that holds a lookup; keep the result with M(ansible.builtin.set_fact) where it is used
    often.
  - It fails where this cannot be known, for one term or for several, because a tenant has no
    database or has it on more than one server, or because the registry or a server that may hold it
    cannot be read. C(errors=warn) and C(errors=ignore) then give V(none), which is an empty text
    before ansible-core 2.19, or an empty list with C(query) or C(wantlist=true).
author:
  - Contributors to influxops (!UNKNOWN)
options:
  _terms:
    description:
      - Ids of tenants, each one or a list of them. A whole number is taken as text.
    required: true
    type: list
    elements: raw
  config:
    description:
      - Path of an C(influxops.toml). Without it, and without O(url) and O(targets), the
        configuration is the one that the C(influxops) command finds, which is the file that the
        environment variable E(INFLUXOPS_CONFIG) names, an C(influxops.toml) in the folder that
        Ansible is called from, or environment variables alone.
      - A relative path is relative to the folder that Ansible is called from.
    type: path
  url:
    description:
      - URL of the only InfluxDB 3 server.
    type: str
  token:
    description:
      - Admin token of the server at O(url).
    type: str
    env:
      - name: INFLUXDB_TOKEN
  targets:
    description:
      - The servers, by name, with the keys of a C([targets.NAME]) section of C(influxops.toml).
        C(kind) is V(influxdb3) if left out. Each has a C(url).
      - A token is a dictionary that says where it is, in C(secret), a name in O(secrets), in
        C(env), an environment variable, or in C(file), a path. A literal is refused.
    type: dict
  secrets:
    description:
      - Secrets that sections in O(targets) refer to by name, as C(secret).
    type: dict
  name_template:
    description:
      - Name of a tenant's database; V({tenant_id}) stands for the id. C(telemetry_{tenant_id}) if
        left out.
      - With a configuration file, the file has it.
    type: str
  timeout:
    description:
      - Seconds that reading may take. Left out, it is the one of the configuration, and else 900.
    type: int
requirements:
  - Python 3.11 or newer as the Python of Ansible itself
  - influxops 0.1.0 or newer there (C(pip install .) in a checkout of influxops)
notes:
  - It runs on the controller. Environment variables and paths are those of the controller;
    C(environment) and C(delegate_to) of a task change nothing. Where another host may reach the
    servers, use M(influxops.influxdb3.influx_tenant_db_info) with C(delegate_to).
seealso:
  - module: influxops.influxdb3.influx_tenant_db
  - module: influxops.influxdb3.influx_tenant_db_info
"""

EXAMPLES = r"""
- name: Show where a service writes
  ansible.builtin.debug:
    msg: "{{ place.database }} on {{ place.url }}"
  vars:
    place: "{{ lookup('influxops.influxdb3.tenant', 'acme') }}"

- name: Find several tenants with one reading of the servers
  ansible.builtin.set_fact:
    places: >-
      {{ query('influxops.influxdb3.tenant', tenants, config='/etc/influxops/influxops.toml') }}
  vars:
    tenants: [acme, globex]

- name: Look on servers that the play itself configures
  ansible.builtin.debug:
    msg: "{{ place.database }} on {{ place.target }}"
  vars:
    place: "{{ lookup('influxops.influxdb3.tenant', 'acme', targets=servers, secrets=tokens) }}"
    servers:
      eu1:
        url: https://eu1.example:8181
        token:
          secret: eu1
    tokens:
      eu1: "{{ eu1_admin_token }}"

- name: Go on without tenants that have none
  ansible.builtin.debug:
    msg: "{{ place.url if place else 'no database yet' }}"
  vars:
    place: >-
      {{ lookup('influxops.influxdb3.tenant', 'newcomer', errors='warn',
                url='https://influx.example:8181', token=influxdb_admin_token) }}
"""

RETURN = r"""
_raw:
  description: One entry per term, in their order. C(lookup) returns a single one without a list.
  type: list
  elements: dict
  contains:
    tenant:
      description: The tenant's id.
      type: str
      sample: acme
    database:
      description: The name of its database.
      type: str
      sample: telemetry_acme
    target:
      description: The name of the target that holds it; V(default) for that of O(url).
      type: str
      sample: eu1
    url:
      description: That target's URL.
      type: str
      sample: https://eu1.example:8181
"""

import sys

from ansible.errors import AnsibleLookupError
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.compat.version import LooseVersion
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

# The oldest influxops, and the oldest Python, that this works with.
INFLUXOPS = "0.1.0"
PYTHON = (3, 11)

try:
    import influxops_ansible
except Exception as error:  # an old Python finds a SyntaxError
    influxops_ansible, MISSING = None, error
else:
    MISSING = None

OPTIONS = ("config", "url", "token", "targets", "secrets", "name_template", "timeout")


class LookupModule(LookupBase):
    """Returns where tenants' databases are."""

    def run(self, terms, variables=None, **kwargs):
        """Return one entry per term."""
        self.set_options(var_options=variables, direct=kwargs)
        unknown = sorted(kwargs.keys() - set(OPTIONS))
        if unknown:
            raise AnsibleLookupError(
                f"unknown option: {', '.join(unknown)}; there are {', '.join(OPTIONS)}"
            )
        check_controller()
        found = influxops_ansible.locate(
            dict(
                {name: self.get_option(name) for name in OPTIONS},
                tenants=self._flatten(terms),
            )
        )
        if found.missing:
            raise AnsibleLookupError(lacking(found.missing))
        if found.failure:
            raise AnsibleLookupError(found.failure)
        for warning in found.warnings:
            Display().warning(warning)
        return found.values["locations"]


def check_controller():
    """Fail where the controller lacks the Python or the influxops that this needs."""
    if sys.version_info < PYTHON:
        raise AnsibleLookupError(
            f"influxops needs Python 3.11 or newer, and Ansible itself runs with {python()}. Run "
            "the module influx_tenant_db_info on a host that has it."
        )
    if MISSING:
        name = (getattr(MISSING, "name", None) or "influxops").partition(".")[0]
        raise AnsibleLookupError(
            f"{lacking(name.replace('influxops_ansible', 'influxops'))} ({to_native(MISSING)})"
        )
    installed = influxops_ansible.__version__
    if LooseVersion(installed) < LooseVersion(INFLUXOPS):
        raise AnsibleLookupError(
            f"this lookup needs influxops {INFLUXOPS} or newer, and the controller's {python()} "
            f"has {installed}. To bring it up to date, run `{sys.executable} -m pip install .` in "
            "a newer checkout of influxops there."
        )


def lacking(library):
    """Return which library the controller's Python lacks, and what to do."""
    return (
        f"the Python library {library} is missing on the controller, in Ansible's own {python()}. "
        "To install influxops with all that it needs, run "
        f"`{sys.executable} -m pip install .` in a checkout of influxops there."
    )


def python():
    """Return the Python that this runs with."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
