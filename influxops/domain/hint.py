"""What to do about a finding or an error, as data: each face puts it in its own words."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import NamedTuple


class HintKind(StrEnum):
    """What a remedy asks for; `value` and `text` of a `Hint` mean something else for each."""

    ADVICE = "advice"  # text: the advice, which means the same everywhere
    ALLOW = "allow"  # value: the guard to allow; text: when that is right
    SETTING = "setting"  # value: a setting of `section`; text: what to do, `{}` stands for it
    OPTION = "option"  # value: an option of a run, `timeout`; text: what to do, `{}` stands for it
    COMMAND = "command"  # value: what to run, `ensure --verify`; text: why, `{}` stands for it


class Hint(NamedTuple):
    """What to do about something.

    On the command line an allowance is `--allow drop`, in a task `allow: [drop]`, on a page a
    button. Use the class methods to make one. `str()` gives plain words that fit nowhere badly.
    """

    kind: HintKind
    value: str = ""
    text: str = ""
    section: str = ""  # SETTING: the full name of the section, `target:eu1`
    written: str = ""  # SETTING: how its author would call it: "`url` of [targets.eu1]"

    @classmethod
    def advise(cls, text: str) -> Hint:
        """Return advice that means the same everywhere; an empty one says nothing."""
        return cls(HintKind.ADVICE, text=text)

    @classmethod
    def allow(cls, guard: str, text: str = "only if that is what you want") -> Hint:
        """Return the allowance of a guard."""
        return cls(HintKind.ALLOW, guard, text)

    @classmethod
    def setting(
        cls, name: str, text: str = "check {}", section: str = "", written: str = ""
    ) -> Hint:
        """Return a remedy that lies in a setting, where `{}` stands for it as its author wrote it.

        `written` says how, where the name is not enough; the engine fills in a plugin's `section`.
        """
        return cls(HintKind.SETTING, name, text, section, written)

    @classmethod
    def option(cls, name: str, text: str) -> Hint:
        """Return a remedy that lies in an option of the run: `timeout`."""
        return cls(HintKind.OPTION, name, text)

    @classmethod
    def command(cls, value: str, text: str = "run {}") -> Hint:
        """Return a command to run, without the program's name: `ensure --verify`."""
        return cls(HintKind.COMMAND, value, text)

    def located(self, section: str, written: str) -> Hint:
        """Return this remedy with the section that it is about, if it is about a setting."""
        if self.kind is not HintKind.SETTING or self.section not in ("", section):
            return self
        return self._replace(section=section, written=written)

    def words(self, value: str) -> str:
        """Return the remedy with a face's own words for what it names."""
        return self.text.replace("{}", value)

    def __str__(self) -> str:
        if self.kind is HintKind.ALLOW:
            return f"{self.text}: allow {self.value}"
        return self.words(self.written or f"`{self.value}`")

    def __bool__(self) -> bool:
        return bool(self.text or self.value)


def typed(command: str, *tenants: str, options: str = "") -> str:
    """Return what is typed for tenants; ids that begin with `-` come last, after `--`."""
    ids = shlex.join(tenants)
    if any(each.startswith("-") for each in tenants):
        ids, options = options, f"-- {ids}"
    return " ".join(filter(None, (command, ids, options)))
