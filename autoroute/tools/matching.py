"""Search without ``rg``, as a process of its own: a pattern that never ends can be stopped from outside.

Run as ``python -I matching.py [--ignore-case] -- PATTERN FILE...`` in the folder of the files. Prints what
``rg --null --line-number`` prints, without the text: ``FILE NUL LINE:``. Exits with 2, and says why, when the
pattern is no regular expression. It knows nothing of the rest of autoroute.
"""

from __future__ import annotations

import codecs
import os
import re
import sys

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def main(arguments: list[str]) -> int:
    """Search the files; 0, or 2 for a bad pattern."""
    split = arguments.index("--")
    pattern, *paths = arguments[split + 1 :]
    try:
        matcher = re.compile(pattern, re.IGNORECASE if "--ignore-case" in arguments[:split] else 0)
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(str(error) or "it is nested too deep")
        return 2
    for path in paths:
        for number, line in enumerate(_lines(path), 1):
            if matcher.search(line):
                sys.stdout.buffer.write(os.fsencode(path) + f"\0{number}:\n".encode())
    return 0


def _lines(path: str) -> list[str]:
    """The lines of a text file; none of one that is binary, gone or unreadable."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            data = file.read()
    except OSError:
        return []
    if data[:2] in _UTF16:
        text = data[2:].decode(_UTF16[data[:2]], "replace")
    elif b"\0" in data:
        return []
    else:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
