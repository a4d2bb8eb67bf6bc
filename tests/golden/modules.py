"""The Ansible modules, as Ansible runs them on a host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fork_server import python
from tests.integration.command import STUCK, Cli, Result

_ROOT = Path(__file__).parents[2]
#: Runs a module's file with its parameters as Ansible gives them.
_RUN_MODULE = """\
import json, pathlib, runpy, sys
import ansible.module_utils
from ansible.module_utils.testing import patch_module_args
ansible.module_utils.__path__.append(str(pathlib.Path(sys.argv[1]).parents[1] / "module_utils"))
with patch_module_args(json.loads(sys.argv[2])):
    runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run_module(cli: Cli, name: str, parameters: Mapping[str, Any], *, check: bool) -> Result:
    """Run a module.

    Args:
        cli: Gives the folder and the environment.
        name: The module.
        parameters: Its parameters.
        check: Whether it runs in check mode.
    """
    given = {**parameters, "_ansible_check_mode": check, "_ansible_diff": True}
    path = str(_ROOT / f"ansible/library/{name}.py")
    done = subprocess.run(
        [str(python()), "-", path, json.dumps(given)],
        cwd=cli.folder,
        env=cli.environment(None),
        input=_RUN_MODULE,
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
