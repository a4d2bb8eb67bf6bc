# Copyright: Contributors to influxops
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says which influxops this Python has, and whether that is the one that it should have.

pip itself writes down where a package came from, so that nothing else has to be kept. Takes the
kind of what should be installed, and the requirement, the checkout, or the wheel's SHA-256.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path


def look(kind, wanted):
    """Return the version, None without one, and whether it is right."""
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
        # The same rules as pip's own: they are its own.
        from pip._vendor.packaging.requirements import Requirement

        right = Requirement(wanted).specifier.contains(found.version, prereleases=True)
    return {"version": found.version, "right": right}


def is_older(found, checkout):
    """Tell whether what the checkout needs was written after it was installed."""
    installed = Path(str(found.locate_file("."))).joinpath(
        f"influxops-{found.version}.dist-info", "RECORD"
    )
    declared = [checkout / name for name in ("pyproject.toml", "setup.cfg")]
    return any(p.stat().st_mtime > installed.stat().st_mtime for p in declared if p.exists())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(*sys.argv[1:])))
