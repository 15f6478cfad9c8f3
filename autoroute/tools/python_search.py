"""A line search in Python, run as its own process so that a pattern that never ends can be stopped.

Run as ``python -I python_search.py [--ignore-case] -- PATTERN`` with UTF-8 text as input. It prints what
``rg --line-number`` prints, without the text: ``LINE:``. For an invalid pattern it prints the reason and exits with 2.
It imports nothing from autoroute.
"""

from __future__ import annotations

import re
import sys


def main(arguments: list[str]) -> int:
    """Search the input; return 0, or 2 for an invalid pattern."""
    separator = arguments.index("--")
    pattern = arguments[separator + 1]
    try:
        regex = re.compile(pattern, re.IGNORECASE if "--ignore-case" in arguments[:separator] else 0)
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(str(error) or "it is nested too deep")
        return 2
    for number, line in enumerate(sys.stdin.buffer, 1):
        if regex.search(line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")):
            sys.stdout.write(f"{number}:\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
