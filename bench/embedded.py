"""An application that asks for its tenants: `python bench/embedded.py FILE` with an id a line."""

import sys
from pathlib import Path

from influxops import Provisioner


def main() -> None:
    ids = Path(sys.argv[1]).read_text().split()
    provisioner = Provisioner.from_config("influxops.toml", full_runs=None, timeout=600.0)
    missing = [each for each in provisioner.ensure_many(ids) if not each.is_ready]
    # Markers are written after the answer; an application leaves what it has no time for to the
    # next full run, but here all are to be there.
    provisioner.close(timeout=60.0)
    if missing:
        sys.exit(f"{len(missing)} of {len(ids)} have no database: {missing[0]}")


if __name__ == "__main__":
    main()
