"""Words of which every match of a regular expression contains one: only files that contain one need a search."""

from __future__ import annotations

from autoroute.patterns import pattern

_MIN_CHARACTERS = 3
"""A shorter word is in most files."""
_SPECIAL = frozenset("\\[](){}*+?.^$|")
_QUANTIFIERS = "*+?{"
_COUNT = pattern(r"\{\d*(?:,\d*)?\}")


def find_required_words(expression: str, *, ignore_case: bool) -> tuple[str, ...]:
    """Return ASCII words of which each match contains one; () if none are known.

    Python's own parser would find more of them, but is private. What this does not understand, it leaves out.
    """
    # Ignoring case, "s" matches "ſ" too. Groups with a question mark may change the meaning of everything.
    if ignore_case or "(?" in expression.replace("(?:", ""):
        return ()
    words = []
    for branch in _split(expression):
        word = max(_read_runs(branch), key=len, default="")
        if len(word) < _MIN_CHARACTERS:
            return ()
        words.append(word)
    return tuple(dict.fromkeys(words))


def _split(expression: str) -> list[list[str]]:
    """Return the alternatives of a pattern, each as its parts: a character, an escape, a class or a whole group."""
    branches: list[list[str]] = [[]]
    position = 0
    while position < len(expression):
        end = _end_of_part(expression, position)
        part = expression[position:end]
        if part == "|":
            branches.append([])
        else:
            branches[-1].append(part)
        position = end
    return branches


def _end_of_part(expression: str, start: int) -> int:
    """Return where the part ends that begins at ``start``; an invalid expression ends with its last part."""
    if expression[start] == "\\":
        return start + 2
    if count := _COUNT.match(expression, start):
        return count.end()
    if expression[start] == "[":
        position = start + 1 + (expression[start + 1 : start + 2] == "^")
        position += expression[position : position + 1] == "]"
        while position < len(expression) and expression[position] != "]":
            position += 1 + (expression[position] == "\\")
        return position + 1
    if expression[start] == "(":
        position = start + 1
        while position < len(expression) and expression[position] != ")":
            position = _end_of_part(expression, position)
        return position + 1
    return start + 1


def _read_runs(parts: list[str]) -> list[str]:
    """Return the runs of plain characters, without characters that a quantifier makes optional."""
    runs = [""]
    for number, part in enumerate(parts):
        following = parts[number + 1][:1] if number + 1 < len(parts) else ""
        plain = _plain_character(part)
        if plain and following in _QUANTIFIERS and following:
            runs += [plain if following == "+" else "", ""]
        elif plain:
            runs[-1] += plain
        else:
            runs.append("")
    return runs


def _plain_character(part: str) -> str:
    """Return the plain ASCII character that a part means, "" if it means anything else."""
    if len(part) == 2 and part[0] == "\\" and not part[1].isalnum() and part[1].isascii() and part[1].isprintable():
        return part[1]
    return part if len(part) == 1 and part not in _SPECIAL and part.isascii() and part.isprintable() else ""
