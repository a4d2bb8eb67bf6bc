"""What an application embeds: `from influxops import Provisioner`."""

from __future__ import annotations

from influxops.provisioner.provisioner import Provisioner
from influxops.provisioner.results import Ensured, How
from influxops.provisioner.validation import WrongCall

__all__ = ["Ensured", "How", "Provisioner", "WrongCall"]
