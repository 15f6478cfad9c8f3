"""Which layer is taken, and what is said where none works."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from autoroute.app.sandbox import AskedCommands
from autoroute.errors import ExitCode, SandboxMissing, WorkspaceError
from autoroute.network import NetworkMode
from autoroute.workspace.commands import LocalCommands
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.backends import select_backend, try_backends
from autoroute.workspace.sandbox.confinement import Confinement, Launch, Unavailable


@dataclass(frozen=True)
class Backend:
    """A layer that does with a command what a test says."""

    name: str
    why: str = ""
    shell: str = "cd {cwd}; {command}"
    lists: bool = True
    is_weaker: bool = False
    bypasses_permissions: bool = False
    kind: Literal["system", "bubblewrap", "network", "machine"] = "machine"

    def missing(self) -> Unavailable | None:
        return Unavailable(self.kind, self.why) if self.why else None

    def supports_allowlist(self) -> bool:
        return self.lists

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:
        return Launch(["/bin/sh", "-c", self.shell.replace("{command}", command)], environment)


HOLDS = "echo in > written; echo works"
"""What a layer that holds comes to with the command of the probe."""
STRONG, WEAK = Backend("bubblewrap", shell=HOLDS), Backend("landlock", shell=HOLDS, is_weaker=True)


def confinement(folder: Path, network: NetworkMode = "off") -> Confinement:
    return Confinement(PathPolicy(folder / "workspaces/run/tree"), network=network)


def test_the_strongest_working_backend_is_selected_and_no_other_is_tried(tmp_path: Path) -> None:
    sandbox = select_backend(
        "auto", confinement(tmp_path), {}, attended=False, layers=[STRONG, Backend("landlock", shell="touch x")]
    )
    assert sandbox is not None
    assert sandbox.backend is STRONG
    assert list((tmp_path / "workspaces").iterdir()) == []


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("{command}", "it does not hold: a command reached what is outside"),
        ("cat ../secret", "it does not hold: a command reached what is outside"),
        ("echo x > ../written; echo in > written; echo works", "it does not hold"),
        ("echo bwrap: no permissions to create new namespace >&2; exit 1", "no permissions to create new namespace"),
        ("exit 0", "it does not work here: no output"),
        ("echo works", "it does not work here: works"),
    ],
)
def test_a_backend_that_fails_its_self_test_is_not_selected(tmp_path: Path, shell: str, words: str) -> None:
    (candidate,) = try_backends("auto", confinement(tmp_path), {}, [Backend("bubblewrap", shell=shell)])
    assert candidate.sandbox is None
    assert words in candidate.reason


def test_an_unattended_run_uses_the_weaker_backend_only_on_request(tmp_path: Path) -> None:
    layers = [Backend("bubblewrap", "there is no /usr/bin/bwrap", kind="bubblewrap"), WEAK]
    with pytest.raises(SandboxMissing) as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=False, layers=layers)
    assert raised.value.exit_code == ExitCode.UNAVAILABLE
    assert "bubblewrap: there is no /usr/bin/bwrap; landlock: hides less" in raised.value.message
    assert "--sandbox landlock" in raised.value.hint
    for mode, attended in (("landlock", False), ("auto", True), ("landlock", True)):
        sandbox = select_backend(mode, confinement(tmp_path), {}, attended=attended, layers=layers)
        assert sandbox is not None
        assert sandbox.backend is WEAK


def test_without_a_backend_a_person_is_asked_and_an_unattended_run_ends(tmp_path: Path) -> None:
    layers = [Backend("bubblewrap", "no"), Backend("landlock", "no")]
    assert select_backend("auto", confinement(tmp_path), {}, attended=True, layers=layers) is None
    assert select_backend("off", confinement(tmp_path), {}, attended=False, layers=layers) is None
    with pytest.raises(SandboxMissing) as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=False, layers=layers)
    assert "--sandbox off" in raised.value.hint


@pytest.mark.parametrize("attended", [False, True])
def test_a_named_backend_is_not_replaced_by_another(tmp_path: Path, attended: bool) -> None:
    with pytest.raises(SandboxMissing, match="bubblewrap cannot hold commands of models back here: no"):
        select_backend(
            "bubblewrap", confinement(tmp_path), {}, attended=attended, layers=[Backend("bubblewrap", "no"), WEAK]
        )


def test_a_network_allow_list_needs_a_backend_that_supports_it(tmp_path: Path) -> None:
    layers = [Backend("landlock", shell=HOLDS, lists=False)]
    with pytest.raises(SandboxMissing, match="cannot tell one address from another") as raised:
        select_backend("landlock", confinement(tmp_path, "listed"), {}, attended=False, layers=layers)
    assert raised.value.hint == "say --sandbox bubblewrap, or --network off"


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (Backend("seatbelt", "it is for macOS", kind="system"), "say --sandbox auto"),
        (Backend("landlock", "this kernel has no Landlock"), "say --sandbox auto"),
        (
            Backend("bubblewrap", "there is no /usr/bin/bwrap", kind="bubblewrap"),
            "install bubblewrap, or say --sandbox auto",
        ),
    ],
)
def test_the_hint_for_a_named_backend_suggests_others_and_never_off(tmp_path: Path, named: Backend, hint: str) -> None:
    with pytest.raises(SandboxMissing) as raised:
        select_backend(named.name, confinement(tmp_path), {}, attended=False, layers=[named])
    assert raised.value.message == f"{named.name} cannot hold commands of models back here: {named.why}"
    assert raised.value.hint == hint


def test_auto_skips_backends_of_other_systems(tmp_path: Path) -> None:
    layers = [Backend("seatbelt", "it is for macOS", kind="system"), Backend("landlock", "no")]
    assert [candidate.backend.name for candidate in try_backends("auto", confinement(tmp_path), {}, layers)] == [
        "landlock"
    ]
    assert [candidate.reason for candidate in try_backends("seatbelt", confinement(tmp_path), {}, layers)] == [
        "it is for macOS"
    ]


@pytest.mark.parametrize("attended", [False, True])
def test_an_unwritable_folder_is_not_blamed_on_a_backend(tmp_path: Path, attended: bool) -> None:
    (tmp_path / "workspaces").write_text("")
    with pytest.raises(WorkspaceError, match=r"workspaces cannot be written: File exists") as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=attended, layers=[STRONG])
    assert raised.value.hint == "check that you may write there"


@dataclass(frozen=True)
class Failing(Backend):
    """A layer whose start fails."""

    error: int = errno.EMFILE
    launched: list[int | None] = field(default_factory=list)

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:
        self.launched.append(confinement.user)
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOSPC, errno.ENOMEM])
def test_exhausted_resources_are_not_blamed_on_a_backend_and_not_retried_as_root(
    tmp_path: Path, error: int, attended: bool
) -> None:
    layer = Failing("bubblewrap", error=error)
    with pytest.raises(WorkspaceError, match=os.strerror(error)):
        select_backend("auto", confinement(tmp_path), {}, attended=attended, layers=[layer])
    assert len(layer.launched) == 1


def test_a_backend_that_cannot_be_started_is_unavailable(tmp_path: Path) -> None:
    candidates = try_backends("auto", confinement(tmp_path), {}, [Failing("bubblewrap", error=errno.EACCES), STRONG])
    assert candidates[0].reason == "it cannot be tried: Permission denied"
    assert candidates[1].sandbox is not None


def test_a_command_that_a_person_denies_is_not_run(tmp_path: Path) -> None:
    asked: list[str] = []

    def allowed(command: str) -> bool:
        asked.append(command)
        return command.startswith("echo")

    commands = AskedCommands(LocalCommands({}), allowed)
    said = [
        commands.run(command, timeout=10, cwd=tmp_path, log=tmp_path / "log")
        for command in ("echo hello", "touch here")
    ]
    assert [result.output for result in said] == ["hello\n", "the user did not allow this command to run\n"]
    assert not said[1].passed
    assert not (tmp_path / "here").exists()
    assert asked == ["echo hello", "touch here"]
