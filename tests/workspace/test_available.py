"""Which environments commands use, and how they see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoroute.workspace.available import use_environments
from autoroute.workspace.carried import Carried

TREE, HOME = Path("/work/ledger"), Path("/home/dev")


def python(path: str) -> Carried:
    return Carried(path, Path("/users", path.removeprefix("~/")), "Python 3.11")


def use(*available: Carried, **variables: str) -> dict[str, str]:
    return use_environments({"PATH": "/usr/bin", **variables}, available, TREE, HOME)


def test_programs_of_the_project_come_first_on_the_path() -> None:
    available = (
        python(".venv"),
        Carried("node_modules", Path("/n"), "pnpm"),
        Carried("a/node_modules", Path("/a"), "pnpm"),
    )
    assert use(*available) == {
        "PATH": "/work/ledger/.venv/bin:/work/ledger/node_modules/.bin:/usr/bin",
        "VIRTUAL_ENV": "/work/ledger/.venv",
    }


def test_without_environments_nothing_changes() -> None:
    assert use(VIRTUAL_ENV="/elsewhere") == {"PATH": "/usr/bin", "VIRTUAL_ENV": "/elsewhere"}


@pytest.mark.parametrize(
    ("available", "active", "chosen"),
    [
        (("env", "venv", ".venv"), "", "/work/ledger/.venv"),
        (("env", "venv", ".venv"), "/users/env", "/work/ledger/env"),
        (("~/envs/ledger", "sandbox"), "/elsewhere", "/work/ledger/sandbox"),
        (("~/envs/ledger", "tools/.venv"), "", "/home/dev/envs/ledger"),
    ],
)
def test_the_active_environment_wins_then_the_usual_names_then_the_home_folder(
    available: tuple[str, ...], active: str, chosen: str
) -> None:
    used = use(*map(python, available), VIRTUAL_ENV=active)
    assert used["VIRTUAL_ENV"] == chosen
    assert used["PATH"] == f"{chosen}/bin:/usr/bin"


def test_bundler_finds_the_gems_of_the_project() -> None:
    assert use(Carried("vendor/bundle", Path("/b"), "Bundler"))["BUNDLE_PATH"] == "/work/ledger/vendor/bundle"
