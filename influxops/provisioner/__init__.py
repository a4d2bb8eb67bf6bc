"""What an application embeds: `from influxops import Provisioner`."""

from __future__ import annotations

from influxops.provisioner.provisioner import Provisioner
from influxops.provisioner.values import Ensured, How, WrongCall

__all__ = ["Ensured", "How", "Provisioner", "WrongCall"]
