"""An application with a `Provisioner`: a line with tenants in, a line of JSON with results out."""

from __future__ import annotations

import json
import logging
import sys

from influxops import Provisioner


def main() -> None:
    logging.basicConfig()
    with Provisioner.from_config(timeout=1.5, full_runs=5.0) as provisioner:
        provisioner.start()
        for line in sys.stdin:
            results = provisioner.ensure_many(line.split())
            told = {
                each.tenant: [each.status.value, each.target or "", each.reason] for each in results
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
