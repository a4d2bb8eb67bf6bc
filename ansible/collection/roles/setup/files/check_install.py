# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks which influxops this Python has, and whether it is the wanted one.

pip records where a package came from. Arguments: the kind of the wanted package (`wheel`,
`checkout`, `requirement`), and the wheel's SHA-256, the checkout, or the requirement.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path


def check(kind, wanted):
    """Return the version, None without one, and whether it is the wanted one."""
    try:
        found = metadata.distribution("influxops")
    except metadata.PackageNotFoundError:
        return {"version": None, "right": False}
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if kind == "wheel":
        # `hashes` is younger than `hash`.
        archive = origin.get("archive_info", {})
        right = wanted in (
            archive.get("hashes", {}).get("sha256"),
            archive.get("hash", "").removeprefix("sha256="),
        )
    elif kind == "checkout":
        right = origin.get("url") == Path(wanted).as_uri() and not is_older(found, Path(wanted))
    else:
        # pip's own rules.
        from pip._vendor.packaging.requirements import Requirement

        right = Requirement(wanted).specifier.contains(found.version, prereleases=True)
    return {"version": found.version, "right": right}


def is_older(found, checkout):
    """Return whether the checkout's metadata was changed after it was installed."""
    installed = Path(str(found.locate_file("."))).joinpath(
        f"influxops-{found.version}.dist-info", "RECORD"
    )
    declared = [checkout / name for name in ("pyproject.toml", "setup.cfg")]
    return any(p.stat().st_mtime > installed.stat().st_mtime for p in declared if p.exists())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(*sys.argv[1:])))
