"""What the Ansible plugins do, without Ansible: a task's parameters in, its result out.

The modules themselves, in `ansible/library`, hold their arguments and their documentation, and
call `ensure` or `look`. The lookup plugin, in `ansible/lookup`, calls `places`.
"""

from influxops import __version__
from influxops_ansible.ensure import ensure
from influxops_ansible.info import look
from influxops_ansible.locate import places
from influxops_ansible.result import Result

__all__ = ["Result", "__version__", "ensure", "look", "places"]
