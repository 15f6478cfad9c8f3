"""The user's world of the tests of whole commands, with its task outside a repository that is clean."""

from __future__ import annotations

import pytest

from tests.commands.conftest import World
from tests.commands.conftest import world as world


@pytest.fixture
def task(world: World) -> str:
    """Return the path of a task, which is not in the repository."""
    (world.repository / "task.md").unlink()
    task = world.home / "task.md"
    task.write_text("# Greet the world\n\nWrite a greeting.\n", encoding="utf-8")
    return str(task)
