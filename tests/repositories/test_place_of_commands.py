"""Where commands find themselves: test suites of real projects depend on the path of their checkout."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoroute.demo.script import ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World, make_world
from tests.repositories import odd

_SHORT_AND_WITHOUT_DOTS = """python3 -c '
import os
here = os.getcwd()
assert len(here) <= 60, here
assert "/." not in here, here
'"""
"""What express does: its static files are refused in a folder whose name begins with a dot."""
_BINDS_A_SOCKET = """python3 -c '
import os, socket
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(os.path.abspath("test/fixtures/a-socket-of-the-server.sock"))
os.unlink("test/fixtures/a-socket-of-the-server.sock")
'"""
"""The path of a Unix socket has at most 107 characters."""


@pytest.fixture
def short_world() -> Iterator[World]:
    """A user's world at a path as short as those of users are, with the platform's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="u", dir="/tmp"))
    try:
        made = make_world(folder)
        (made.repository / "task.md").unlink()
        (made.home / "task.md").write_text("# Greet the world\n", encoding="utf-8")
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            del made.environ[name]
        with made.stack:
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("layer", odd.LAYERS)
def test_commands_find_a_short_path_without_dot_folders(short_world: World, layer: str) -> None:
    _run(short_world, layer, _SHORT_AND_WITHOUT_DOTS)


@pytest.mark.parametrize("layer", ["default", "off"])
def test_commands_bind_a_unix_socket_in_the_tree(short_world: World, layer: str) -> None:
    odd.commit(short_world, {"test/fixtures/a.txt": "a\n"})
    _run(short_world, layer, _BINDS_A_SOCKET)


@pytest.mark.skipif(SANDBOX != "bubblewrap", reason="only bubblewrap can mount")
def test_commands_find_the_checkout_and_the_home_of_the_user_where_they_are(short_world: World) -> None:
    checks = f'test "$(pwd)" = {short_world.repository} && test "$HOME" = {short_world.home}'
    (short_world.home / "mine").write_text("mine\n", encoding="utf-8")
    _run(short_world, "default", f"{checks} && test ! -e {short_world.home}/mine && touch {short_world.home}/theirs")
    assert not (short_world.home / "theirs").exists()


def _run(world: World, layer: str, command: str) -> None:
    if layer != "default":
        world.environ["AUTOROUTE_SANDBOX__MODE"] = layer
    verify = f"{scripts.VERIFY} && {command}"
    code = (ScriptedReply(text="I write it.", calls=(odd.WRITE_GREETING,)), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify, verify), code=code))
    result = world.autoroute("run", str(world.home / "task.md"), "--plan", "sonnet")
    assert result.code == 0, result.stdout + result.stderr
    assert world.git("status", "--porcelain") == ""
