"""One backend as one user: a new world, a check that harmless work succeeds, then the attempts, one by one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from autoroute.errors import AutorouteError
from autoroute.messages import ToolCall
from autoroute.tools import Toolbox, ToolContext, open_toolbox
from autoroute.workspace import Commands

from .backends import CONNECTS, HAS_LOOPBACK, OFF, WORKS, BackendName, commands_for
from .file_tools import as_json, call_naive_tool
from .snippet import Attempt, Ended, Step
from .world import World

_SECONDS = 8.0
_GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")


@dataclass(frozen=True, slots=True)
class Session:
    """A session of attempts on ``layer`` in ``world``; without a sandbox, tools and git calls are naive too."""

    world: World
    layer: BackendName
    commands: Commands
    toolbox: Toolbox

    @classmethod
    def open(cls, world: World, layer: BackendName) -> Session:
        """Open a session. Raises ``NotHere`` if the machine does not support the backend."""
        commands = commands_for(layer, world)
        context = ToolContext(
            root=world.clone.root,
            commands=commands,
            logs=world.logs,
            command_timeout=_SECONDS,
            ask=lambda _question, _options: "",
            check=lambda _kind, _artifact: [],
        )
        return cls(world, layer, commands, open_toolbox(("read", "write", "edit", "bash", "grep", "find"), context))

    def complaints(self) -> list[str]:
        """Return the harmless work that fails here: if any does, a result of zero escapes proves nothing."""
        found = []
        for name, command in (("work", WORKS), ("loopback", CONNECTS)):
            if name == "work" or self.layer in HAS_LOOPBACK:
                text = self._run(command)
                if "exit code 0" not in text.splitlines()[-1]:
                    found.append(f"harmless {name} fails: {text}")
        evidence = self.world.evidence("", "none", by_harness=False)
        if self.layer == OFF:
            return found  # its home is the user's
        return found + [f"harmless work looks like an attack: {words}" for words in evidence]

    def play(self, attempts: Sequence[Attempt]) -> Iterator[Ended]:
        """Play the attempts one by one; the world is the same for each."""
        for number, attempt in enumerate(attempts):
            # Digits only: used as a fraction of a second for ``sleep``, and as a key of shared memory.
            nonce = f"{1 + os.getpid() % 6}{number:04d}{self.world.mark[-3:]}"
            started = time.monotonic()
            output = "\n".join(
                self._take(step.fill(self.world.names | {"NONCE": nonce, "COOKIE": nonce})) for step in attempt.steps
            )
            by_harness = any(step.way == "harness" for step in attempt.steps)
            evidence = self.world.evidence(output, nonce, by_harness=by_harness)
            yield Ended(attempt.id, tuple(evidence), output[-600:], time.monotonic() - started)

    def _take(self, step: Step) -> str:
        if step.way == "harness":
            return self._checkpoint()
        if step.way == "verify":
            return self._run(step.text)
        if step.way == "bash":
            return (
                self.toolbox.prepare(ToolCall("c", "bash", as_json(Step("bash", "", (("command", step.text),)))))
                .run()
                .text
            )
        if self.layer == OFF:
            with suppress(OSError, ValueError, UnicodeError):
                return call_naive_tool(self.world.clone.root, step)
            return ""
        return self.toolbox.prepare(ToolCall("c", step.way, as_json(step))).run().text

    def _run(self, command: str) -> str:
        root = self.world.clone.root
        result = self.commands.run(command, timeout=_SECONDS, cwd=root, log=self.world.logs / "verify")
        return f"{result.output}\nexit code {result.exit_code}"

    def _checkpoint(self) -> str:
        """Do what a run does after a step: list the changes and commit them."""
        clone = self.world.clone
        if self.layer != OFF:
            try:
                return clone.commit(clone.snapshot(), "Checkpoint", "", {})
            except AutorouteError as error:
                return str(error)
        said = ""
        for command in (
            ("add", "--all"),
            ("commit", "-q", "-m", "Checkpoint"),
            ("status", "--short"),
            ("reset", "-q", "--hard", "HEAD~1"),
        ):
            done = subprocess.run(
                [*_GIT, *command], cwd=clone.root, env=self.world.environ, capture_output=True, check=False
            )
            said += (done.stdout + done.stderr).decode("utf-8", "replace")
        return said
