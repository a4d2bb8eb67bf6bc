"""The code blocks of README and of the pages."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: All that is shown to readers; the generated pages have no code of their own.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A block of code, and why it is not run, where a comment before it says so."""

    page: Path
    line: int
    language: str
    text: str
    excuse: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """What a console shows: each command, and the lines that it prints."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, hit.start(2)) + 1, hit[2], hit[3], hit[1] or "")
        for hit in _BLOCK.finditer(text)
    ]


def of(page: str, language: str) -> list[Block]:
    """The blocks of a page of docs/ in a language that are to be run."""
    found = blocks(ROOT / "docs" / page)
    return [each for each in found if each.language == language and not each.excuse]


def words(command: str) -> list[str]:
    """The words of a command without comments, redirections and what follows a pipe."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        found.append(word)
    return found
