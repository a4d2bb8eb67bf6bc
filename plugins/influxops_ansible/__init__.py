"""The Ansible plugins without Ansible: a task's parameters in, its result out.

The modules in `ansible/library` hold their arguments and their documentation, and call `ensure` or
`gather`. The lookup plugin in `ansible/lookup` calls `locate`.
"""

from influxops import __version__
from influxops_ansible.ensure import ensure
from influxops_ansible.info import gather
from influxops_ansible.locate import locate
from influxops_ansible.result import Result

__all__ = ["Result", "__version__", "ensure", "gather", "locate"]
