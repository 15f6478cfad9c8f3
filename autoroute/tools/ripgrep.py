"""When ``grep`` may search with ``rg``, and the command line for it.

Python's regular expressions are the reference. ``rg`` gets only patterns that both engines read alike, so results do
not depend on what is installed, except for bytes that are not UTF-8.
"""

from __future__ import annotations

import re
from pathlib import Path

from autoroute.patterns import pattern

_FLAGS = (
    *("--no-config", "--no-messages", "--color=never", "--no-filename", "--line-number"),
    *("--text", "--encoding=none", "--crlf", "--max-columns=1"),
)

# A pattern that both engines read alike: plain characters, common escapes, groups, plain classes, quantifiers.
_COMMON_SYNTAX = pattern(
    r"""(?: [^\\\[\](){}*+?\n]
          | \\(?:[bBdDwWsSt] | [^\w\s<>])
          | \((?:\?:)? | \)
          | \[\^?(?: [^\\\[\]\n&~-] | \\[dwst\\\]\[^.-] | \w-\w )+-?\]
          | (?<=[^*+?{(|^]) (?:[*+?] | \{\d{1,3}(?:,\d{0,3})?\}) \?? (?![*+?{])
        )*""",
    re.VERBOSE | re.ASCII,
)


def ripgrep_command(ripgrep: str | None, pattern: str, *, ignore_case: bool) -> list[str] | None:
    """Return the command that searches its input with ``rg``; None if ``rg`` is missing or may read it differently."""
    # A relative path comes from a relative entry in PATH: the repository could provide that program.
    if ripgrep is None or not Path(ripgrep).is_absolute() or not _COMMON_SYNTAX.fullmatch(pattern):
        return None
    return [ripgrep, *_FLAGS, *["--ignore-case"] * ignore_case, "-e", pattern, "-"]
