"""A whole run and its merge in each odd repository: what was approved arrives, and nothing else changes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.events import Committed, RunEnded, RunStarted
from autoroute.store import RunFolder
from tests.commands import scripts
from tests.commands.conftest import World
from tests.repositories import odd
from tests.repositories.odd import Odd
from tests.repositories.rows import ALL


def _rows() -> Iterator[object]:
    for row in ALL:
        for layer in row.layers:
            yield pytest.param(row, layer, id=row.name if layer == "default" else f"{row.name}, {layer}")


@pytest.mark.parametrize(("row", "layer"), [*_rows()])
def test_what_is_approved_in_an_odd_repository_is_merged_and_nothing_else(
    world: World, task: str, row: Odd, layer: str, tmp_path: Path
) -> None:
    row.build(world)
    if layer != "default":
        world.environ["AUTOROUTE_SANDBOX__MODE"] = layer
    code = (ScriptedReply(text="I write it.", calls=row.steps), scripts.DONE)
    files = [name for name in row.changed if name.isascii() and name.isprintable() and "'" not in name]
    if len(files) < len(row.changed):
        # No plan can name such a file, so a command that finds it missing before the work seems to be wrong.
        world.environ["AUTOROUTE_VERIFY__BASELINE"] = "false"
    world.provide("anthropic", scripts.rules(plan=scripts.plan(row.verify, row.verify, files), code=code))
    head = odd.resolve(world, "HEAD")
    times, state = odd.files_of(world.repository, times=True), odd.state_of_git(world)
    before = _Checkout.look(world, row)

    result = world.autoroute("run", task, "--plan", "sonnet", *row.flags, cwd=world.repository / row.folder)

    assert result.code == 0, result.stdout + result.stderr
    assert odd.files_of(world.repository, times=True) == times
    assert odd.state_of_git(world) == state
    branch = _published_branch(world)
    assert odd.paths_between(world, head or odd.empty_tree(world), branch) == sorted(row.changed)
    _assert_sound_record(world, branch, head, tmp_path)

    if row.meanwhile:
        row.meanwhile(world)
        before = _Checkout.look(world, row)
    merged = world.autoroute("merge", cwd=world.repository / row.folder)

    assert merged.code == 0, merged.stdout + merged.stderr
    verified = subprocess.run(
        ["/bin/sh", "-c", row.verify], cwd=world.repository, env=world.environ, capture_output=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert _Checkout.look(world, row) == before
    world.git("fsck", "--full", "--no-dangling")


@dataclass(frozen=True, slots=True)
class _Checkout:
    """What a merge must leave as it was: what git says of the checkout, and each file that was not changed."""

    status: list[bytes]
    files: Mapping[str, object]
    flags: Mapping[str, str]

    @classmethod
    def look(cls, world: World, row: Odd) -> _Checkout:
        touched = {*row.changed, *(str(folder) for path in row.changed for folder in Path(path).parents)}
        files, flags = odd.files_of(world.repository), odd.index_flags(world)
        return cls(
            odd.status_of(world),
            {path: facts for path, facts in files.items() if path not in touched},
            {path: flag for path, flag in flags.items() if path not in touched},
        )


def _published_branch(world: World) -> str:
    """Return the one branch of a run in the repository, which has the name of the run."""
    branch = world.git("for-each-ref", "--format=%(refname)", "refs/heads/autoroute")
    assert branch == f"refs/heads/autoroute/{world.run_folder().name}"
    return branch


def _assert_sound_record(world: World, branch: str, head: str, folder: Path) -> None:
    """Check that journal, receipt and patch say what the branch has."""
    run = world.run_folder()
    assert json.loads((run / "receipt.json").read_text())["verdict"] == "approved"
    events = [*RunFolder.open(world.repository, run.name).events()]
    started, ended = events[0], events[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(ended, RunEnded)
    assert started.base == head
    made = [event.commit for event in events if isinstance(event, Committed)]
    base = odd.resolve(world, f"{made[0]}^")  # HEAD, or the commit of what the user had not committed
    assert world.git("rev-list", "--reverse", branch, *([f"^{base}"] if base else [])).splitlines() == made
    patched = odd.tree_of_patch(world, base or odd.empty_tree(world), run / "changes.patch", folder / "index")
    assert patched == world.git("rev-parse", f"{branch}^{{tree}}")
