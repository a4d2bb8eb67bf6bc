"""An application that asks for its tenants: `python bench/embedded.py FILE` with an id a line."""

import sys
from pathlib import Path

from influxops import Provisioner


def main() -> None:
    ids = Path(sys.argv[1]).read_text().split()
    with Provisioner.from_config("influxops.toml", full_runs=None, timeout=600.0) as provisioner:
        found = provisioner.ensure_many(ids)
        missing = [each for each in found if not each.is_ready]
    if missing:
        sys.exit(f"{len(missing)} of {len(ids)} have no database: {missing[0]}")


if __name__ == "__main__":
    main()
