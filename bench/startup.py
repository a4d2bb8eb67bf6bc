"""What starting costs: each command's time and the modules that it imports, side by side.

python bench/startup.py [--runs 10]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

_COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "influxops --version": ["-m", "influxops", "--version"],
    "influxops --help": ["-m", "influxops", "--help"],
    "influxops config": ["-m", "influxops", "config"],
}
_HEAVY = ("psycopg", "pydantic", "rich", "urllib3", "yaml", "prometheus_client", "datafusion")


def seconds(arguments: list[str], runs: int) -> float:
    """Give the median wall time of a command, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=False, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def imported(arguments: list[str]) -> list[str]:
    """Give the heavy packages that a command imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    log = subprocess.run(command, check=False, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip() for line in log.splitlines()}
    return [name for name in _HEAVY if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    base = 0.0
    for name, arguments in _COMMANDS.items():
        taken = seconds(arguments, runs)
        base = base or taken
        heavy = ", ".join(imported(arguments)) or "-"
        print(f"{name:<22} {taken * 1000:6.0f} ms  {taken / base:5.1f} x python  imports {heavy}")


if __name__ == "__main__":
    main()
