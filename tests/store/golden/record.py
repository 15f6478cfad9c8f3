"""Records golden runs: what a version of autoroute leaves in a repository and in a home, to be resumed by later ones.

python -m tests.store.golden.record FOLDER

Writes ``FOLDER/NAME.tar.gz``, one for each state that a run can be left in; ``rehome`` puts one into another place.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from autoroute.demo.script import ScriptedReply
from autoroute.demo.server import Fault
from tests.commands import scripts
from tests.commands.conftest import World, make_world

RUN = ("run", "task.md", "--plan", "sonnet", "--format", "jsonl")
LIMITED = Fault("status", status=429, headers={"retry-after": "3600"}, offers="edit")
SLOW = ScriptedReply(calls=(scripts.call("bash", command="echo begun; sleep 30"),))
CODE = (scripts.write(), SLOW, scripts.DONE)
STATES = ("approved", "killed", "waiting", "limited")
_ROOT = "root.txt"
"""Says where a golden run was recorded."""


def record(state: str, folder: Path) -> None:
    """Leave a run in this state, in this folder."""
    world = make_world(folder)
    with world.stack:
        faults = [LIMITED] if state == "limited" else []
        script = scripts.rules(code=CODE) if state == "killed" else scripts.rules()
        world.provide("anthropic", script, faults=faults)
        more = {"waiting": ("--gate", "plan"), "limited": ("--max-wait", "0")}.get(state, ())
        code = _kill_in_a_command(world) if state == "killed" else world.autoroute(*RUN, *more).code
    assert code == {"approved": 0, "killed": -signal.SIGKILL, "waiting": 13, "limited": 75}[state]
    for left in (world.home / "state/autoroute/cooldowns").glob("*.json"):
        left.unlink()
    (folder / _ROOT).write_text(str(folder), encoding="utf-8")


def _kill_in_a_command(world: World) -> int:
    with subprocess.Popen(
        world.command(*RUN), cwd=world.repository, env=world.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "tool_started" and event["name"] == "bash":
                break
        process.kill()
        return process.wait()


def rehome(archive: Path, folder: Path) -> None:
    """Put a golden run into a folder, as though it had been made there."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    old, new = (folder / _ROOT).read_text(encoding="utf-8"), str(folder)
    for path in folder.rglob("alternates"):
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    for path in folder.rglob("events.jsonl"):
        path.write_bytes(_moved(path.read_bytes(), old.encode(), new.encode()))
    state = folder / "home/state/autoroute"
    for path in [*(state / "runs").iterdir(), *(state / "workspaces").glob("*")]:
        path.rename(path.with_name(path.name.replace(_digest(old), _digest(new))))


def _digest(root: str) -> str:
    """What a repository's place adds to the names of its runs."""
    return hashlib.sha256(f"{root}/project".encode()).hexdigest()[:8]


def _moved(journal: bytes, old: bytes, new: bytes) -> bytes:
    """A journal with another place in it, and the checksums that fit."""
    lines, before = [], 0
    for line in journal.splitlines():
        head = line.rpartition(b',"chain":"')[0].replace(old, new)
        before = zlib.crc32(head, before)
        lines.append(head + f',"chain":"{before:08x}"}}\n'.encode())
    return b"".join(lines)


def main() -> None:
    """Record every state."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for state in STATES:
        with tempfile.TemporaryDirectory() as folder:
            record(state, Path(folder))
            with tarfile.open(target / f"{state}.tar.gz", "w:gz") as tar:
                tar.add(folder, arcname=".", filter=_without_samples)


def _without_samples(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith(".sample") else member


if __name__ == "__main__":
    main()
