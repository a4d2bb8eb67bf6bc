"""What the Ansible modules do, without Ansible: a task's parameters in, its result out.

The modules themselves, in `ansible/library`, hold their arguments and their documentation, and
call `ensure` or `look`.
"""

from influxops import __version__
from influxops_ansible.ensure import ensure
from influxops_ansible.info import look
from influxops_ansible.result import Result

__all__ = ["Result", "__version__", "ensure", "look"]
