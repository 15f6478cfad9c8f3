from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from autoroute import errors
from autoroute.errors import AutorouteError, PhaseFailed


def subclasses(error: type[AutorouteError], depth: int = 1) -> Iterator[tuple[int, type[AutorouteError]]]:
    for subclass in error.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield depth, subclass
            yield from subclasses(subclass, depth + 1)


def test_the_tree_in_the_docstring_shows_every_class_and_its_exit_code() -> None:
    rows = re.findall(r"^ {4}([ │]*)[├└]─ (\w+) +.*? (\d+(?:, \d+)*)$", errors.__doc__ or "", re.MULTILINE)
    drawn = [
        (1 + len(indentation) // 3, name, {int(code) for code in codes.split(", ")})
        for indentation, name, codes in rows
    ]
    defined = list(subclasses(AutorouteError))
    assert [(depth, name) for depth, name, _ in drawn] == [(depth, error.__name__) for depth, error in defined]
    for (_, name, codes), (_, error) in zip(drawn, defined, strict=True):
        assert error.exit_code in codes, name


@pytest.mark.parametrize("error", [error for _, error in subclasses(AutorouteError)])
def test_every_error_keeps_its_message_and_hint(error: type[AutorouteError]) -> None:
    made = error("it failed", hint="try again")
    assert (str(made), made.message, made.hint) == ("it failed", "it failed", "try again")


def test_a_failed_phase_may_set_its_exit_code() -> None:
    assert PhaseFailed("rejected", exit_code=errors.ExitCode.REJECTED).exit_code == 10
