# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a stand-in for InfluxDB 3 that outlives this process, and says where it is."""

from __future__ import annotations

import json
import sys

from influxops_devserver.testing import start_stand_in

started = start_stand_in(with_auth=True, max_databases=int(sys.argv[1]), wal_flush_interval="50ms")
sys.stdout.write(json.dumps({"url": started.url, "pid": started.process.pid}))
