"""What starting costs: Python, `influxops`, a play; and a run with next to nothing to do."""

from __future__ import annotations

import sys
from functools import partial

from bench.cases.tenants import OURS, setting
from bench.contenders import bare, cli, module, play
from bench.place import Place, program, timed
from bench.values import BARE

START, PLAY = "start-up", "a play of one task, 12 tenants, nothing missing"
PYTHON = "python -c pass"


def run(place: Place, _size: int) -> None:
    """Measure each start in turns."""
    with place.registry(5) as db, setting(place, db, 5, 120) as given:
        bare(given)
        commands = {
            PYTHON: [sys.executable, "-c", "pass"],
            "influxops --version": [program(), "--version"],
            "influxops --help": [program(), "--help"],
        }
        if place.base:
            other = program(python=place.base)
            commands["influxops --version, base"] = [other, "--version"]
            commands["influxops --help, base"] = [other, "--help"]
        starts = {name: partial(timed, each, given.env) for name, each in commands.items()}
        many = 3 * place.sizes.rounds
        place.in_turns(START, "", starts, many, PYTHON)
        runs = {BARE: partial(bare, given, "look"), OURS: partial(cli, given)}
        place.in_turns("5 tenants, nothing missing", "", runs, many, BARE)
        plays = {
            "ansible.builtin.debug": partial(play, given, {"debug": {"msg": "nothing"}}),
            "Ansible module": partial(module, given),
        }
        place.in_turns(PLAY, "", plays, place.sizes.rounds, "ansible.builtin.debug")
