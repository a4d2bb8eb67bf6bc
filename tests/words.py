"""Look for phrases of our own where the field has a word: `make words`.

python tests/words.py [PATH…]

Prints `file:line: phrase -> instead` for each phrase of words.txt that a tracked file below the
paths (all without any) has, then how many a folder has; exits with 1 if there is one. A name in
code (`came_of`, `is-told`, `told.dry_run`) is none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".txt")
#: What others wrote: licenses, and the answers of a real server.
_FOREIGN = ("LICENSE", "ansible/collection/COPYING", "tests/contract/recordings/")
#: Between two words of a phrase: blanks, or a new line with what opens it in a comment, a quotation
#: or a string that is put together from several.
_GAP = r"""(?:[ \t]+|[ \t]*["'`]?[ \t]*\n[ \t]*(?:#:?|>|\*|--|//|\|)?[ \t]*[rf]{0,2}["'`]?[ \t]*)"""


def phrases(text: str) -> Iterator[tuple[re.Pattern[str], str]]:
    """Read a list: yield what to look for, and what to say instead."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            phrase, _, instead = line.partition(" -> ")
            pattern = phrase.strip().replace(" ", _GAP)
            yield re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-]|\.\w)", re.IGNORECASE), instead


def found(
    text: str, looked_for: Sequence[tuple[re.Pattern[str], str]]
) -> Iterator[tuple[int, str, str]]:
    """Yield line, phrase and what to say instead, in the order of the text."""
    hits = [(hit, instead) for pattern, instead in looked_for for hit in pattern.finditer(text)]
    end = 0
    for hit, instead in sorted(hits, key=lambda each: (each[0].start(), -each[0].end())):
        if hit.start() >= end:  # not a part of the one before
            end = hit.end()
            yield text.count("\n", 0, hit.start()) + 1, " ".join(hit.group().split()), instead


def tracked(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, check=True, capture_output=True
    )
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        path = ROOT / name
        if path.is_file() and path != LIST and not name.startswith(_FOREIGN):
            content = path.read_bytes()
            if b"\0" not in content:
                yield name, content.decode(errors="replace")


def area(name: str) -> str:
    """Return the folder that a file is counted in: two levels of it."""
    folders = Path(name).parts[:-1]
    return "/".join(folders[:2]) + "/" if folders else name


def main(paths: Sequence[str]) -> int:
    looked_for, counted = list(phrases(LIST.read_text(encoding="utf-8"))), Counter[str]()
    for name, text in tracked(paths):
        for line, phrase, instead in found(text, looked_for):
            sys.stdout.write(f"{name}:{line}: {phrase} -> {instead}\n")
            counted[area(name)] += 1
    for folder, number in counted.most_common():
        sys.stdout.write(f"{number:6} {folder}\n")
    return 1 if counted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
