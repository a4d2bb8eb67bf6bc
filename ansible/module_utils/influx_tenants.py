# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments and requirements of both modules, and how they return a result."""

from __future__ import annotations

import os
import re
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible.module_utils.compat.version import LooseVersion

#: The oldest influxops, and the oldest Python, that the modules work with.
INFLUXOPS = "0.1.0"
PYTHON = (3, 11)

try:
    from influxops_ansible import __version__ as INSTALLED
except Exception as error:  # an old Python finds a SyntaxError
    INSTALLED, MISSING, TRACEBACK = None, error, traceback.format_exc()
else:
    MISSING = TRACEBACK = None

#: Parameters that are hidden where Ansible repeats those of a task.
HIDDEN = ("token", "targets", "source", "ledger", "secrets")


def make(required_if=(), **own):
    """Create a module, and fail where the Python or the influxops that it needs is missing.

    Args:
        required_if: The conditions on its own arguments.
        **own: Its arguments beside those that both modules have.
    """
    module = AnsibleModule(
        argument_spec=dict(arguments(), **own),
        supports_check_mode=True,
        mutually_exclusive=exclusions(),
        required_one_of=[
            ("url", "config", "targets"),
            ("tenant", "tenants", "source", "config"),
        ],
        required_if=list(required_if),
        required_by={"client_key": "client_cert"},
    )
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    if sys.version_info < PYTHON:
        module.fail_json(
            msg=f"influxops needs Python 3.11 or newer, and this module runs with {python}. Name "
            "another one with `ansible_python_interpreter`, or let another host run the task with "
            "`delegate_to`."
        )
    if MISSING:
        fail_for_library(module, getattr(MISSING, "name", None), exception=TRACEBACK)
    if LooseVersion(INSTALLED) < LooseVersion(INFLUXOPS):
        module.fail_json(
            msg=f"this module needs influxops {INFLUXOPS} or newer, and {python} has {INSTALLED}. "
            f"To bring it up to date, run `{sys.executable} -m pip install .` in a newer checkout "
            "of influxops there."
        )
    return module


def arguments():
    """Return the arguments of both modules."""
    return {
        "url": {"type": "str", "fallback": (env_fallback, ["INFLUXDB_URL"])},
        "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["INFLUXDB_TOKEN"])},
        "config": {"type": "path"},
        # The engine refuses literal secrets in these; they are hidden until it does.
        "targets": {"type": "dict", "no_log": True},
        "source": {"type": "dict", "no_log": True},
        "ledger": {"type": "dict", "no_log": True},
        "secrets": {"type": "dict", "no_log": True},
        "validate_certs": {"type": "bool"},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        # The path of a key is no secret.
        "client_key": {"type": "path", "no_log": False},
        "tenant": {"type": "raw"},
        "tenants": {"type": "list", "elements": "raw"},
        "name_template": {"type": "str"},
        "retention": {"type": "str"},
        "details": {"type": "str", "choices": ["problems", "all"], "default": "problems"},
        "timeout": {"type": "int"},
    }


def exclusions():
    """Return the parameters that exclude each other.

    Ansible applies fallbacks before it checks these, so that an environment variable would exclude
    a parameter of the task. Where such a variable is set, influxops_ansible checks instead.
    """
    own = ["validate_certs", "ca_path", "client_cert", "client_key"]
    variables = {"url": "INFLUXDB_URL", "token": "INFLUXDB_TOKEN"}
    own += [name for name, variable in variables.items() if variable not in os.environ]
    return [
        ("tenant", "tenants", "source"),
        ("config", "targets"),
        ("config", "ledger"),
        ("config", "name_template"),
    ] + [(name, other) for name in own for other in ("config", "targets")]


def run(module, work):
    """Exit with the result that a module's work returns."""
    # Names and URLs inside `targets` and `source` may be in the result; the parameters themselves
    # are hidden where Ansible repeats them.
    secrets = [module.params["token"], *(module.params["secrets"] or {}).values()]
    module.no_log_values.intersection_update(map(str, secrets))
    hidden = {
        name: "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
        for name in HIDDEN
        if module.params[name] is not None
    }
    if module.params["url"] is not None:
        # It is refused with a password in it, which must not be repeated then.
        hidden["url"] = re.sub("//[^/]*@", "//********@", module.params["url"])
    result = work()
    if result.missing:
        fail_for_library(module, result.missing)
    values = dict(result.values, invocation={"module_args": dict(module.params, **hidden)})
    if not module._diff:
        values.pop("diff", None)
    for warning in result.warnings:
        module.warn(warning)
    if result.failure:
        module.fail_json(msg=result.failure, **values)
    module.exit_json(**values)


def fail_for_library(module, name, **values):
    """Fail for a missing library, and name the Python that lacks it."""
    library = (name or "influxops").partition(".")[0].replace("influxops_ansible", "influxops")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    module.fail_json(
        msg=f"{missing_required_lib(library)} That is Python {version}. To install influxops with "
        f"all that it needs, run `{sys.executable} -m pip install .` in a checkout of influxops "
        "there (it needs Python 3.11 or newer).",
        **values,
    )
