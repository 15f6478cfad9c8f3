"""Search without ``rg``, as a process of its own: a pattern that never ends can be stopped from outside.

Run as ``python -I python_search.py [--ignore-case] -- PATTERN`` with the text, in UTF-8, as its input. Prints what
``rg --line-number`` prints, without the text: ``LINE:``. Exits with 2, and says why, when the pattern is no regular
expression. It knows nothing of the rest of autoroute.
"""

from __future__ import annotations

import re
import sys


def main(arguments: list[str]) -> int:
    """Search the text; 0, or 2 for a bad pattern."""
    split = arguments.index("--")
    pattern = arguments[split + 1]
    try:
        matcher = re.compile(pattern, re.IGNORECASE if "--ignore-case" in arguments[:split] else 0)
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(str(error) or "it is nested too deep")
        return 2
    for number, line in enumerate(sys.stdin.buffer, 1):
        if matcher.search(line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")):
            sys.stdout.write(f"{number}:\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
