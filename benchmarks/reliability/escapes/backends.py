"""The backends under attack: the only module of this benchmark that knows how to create a sandbox."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from autoroute.app.sandbox import confine_to, confinement_for
from autoroute.routing import SandboxSettings
from autoroute.workspace import Commands
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.sandbox.backends import try_backends

from .world import World

BackendName = Literal["off", "bubblewrap", "landlock"]
BACKENDS: tuple[BackendName, ...] = ("off", "bubblewrap", "landlock")
OFF = "off"
_PROCESSES, _MEMORY, _FILE_SIZE = 64, 160 << 20, 16 << 20
"""Bounds that are soon reached: what goes beyond them does no harm where nothing holds it."""


class NotHere(Exception):
    """This machine does not support the backend; the message says why."""


def commands_for(layer: BackendName, world: World) -> Commands:
    """Return what runs commands in this backend, in the clone of the world. Raises ``NotHere``."""
    if layer == OFF:
        return LocalCommands(world.environ, world.make_clone(None).mark)
    kits = (f"{world.home}/tools/deep/kit", f"{world.project}/packages/deep/kit")
    settings = SandboxSettings(mode=layer, readable=kits, processes=_PROCESSES, memory=_MEMORY, file_size=_FILE_SIZE)
    confinement, variables = confinement_for(settings, world.environ, world.repository)
    candidate = try_backends(layer, confinement, variables)[-1]
    if candidate.sandbox is None:
        raise NotHere(candidate.reason)
    clone = world.make_clone(candidate.sandbox.confinement.user, candidate.sandbox.place, carries=True)
    confinement = confine_to(clone, candidate.sandbox.confinement)
    return LocalCommands(
        world.environ, clone.mark, replace(candidate.sandbox, confinement=confinement, layers=clone.layers)
    )


WORKS = """
set -e
python3 -c 'import sqlite3; d = sqlite3.connect("x.db"); d.execute("create table t (a)"); d.commit()'
git -c user.name=a -c user.email=a@b commit -q --allow-empty -m works
echo text > file; mv file other; chmod 755 other; mkdir -p "$HOME/.cache"; echo x > "${TMPDIR:-/tmp}/own-$$"
perl -e 'print qq(perl\\n)'; git log --oneline | head -1
"""
"""What every layer must let a command do, or nothing that fails in it proves anything."""

CONNECTS = """
python3 - <<'PY'
import socket
listening = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listening.getsockname()).sendall(b"x")
print(listening.accept()[0].recv(1))
PY
"""
"""What a layer with a network of its own lets a command do beyond that."""
HAS_LOOPBACK = frozenset({"off", "bubblewrap"})
