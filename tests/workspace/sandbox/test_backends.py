"""Which backend is selected, and the messages when none works."""

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
from autoroute.workspace.sandbox.backends import explain_failure, select_backend, try_backends
from autoroute.workspace.sandbox.confinement import Confinement, Launch, Unavailable
from autoroute.workspace.sandbox.namespaces import find_namespace_bar


@dataclass(frozen=True)
class FakeBackend:
    """A backend that runs ``shell`` in place of a command."""

    name: str
    reason: str = ""
    shell: str = "cd {cwd}; {command}"
    allowlist: bool = True
    is_weaker: bool = False
    bypasses_permissions: bool = False
    mounts: bool = False
    kind: Literal["system", "bubblewrap", "namespaces", "network", "machine"] = "machine"

    def check_available(self) -> Unavailable | None:
        return Unavailable(self.kind, self.reason) if self.reason else None

    def supports_allowlist(self) -> bool:
        return self.allowlist

    def prepare_launch(
        self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path
    ) -> Launch:
        return Launch(["/bin/sh", "-c", self.shell.replace("{command}", command)], environment)


CONFINES = "echo in > written; echo works"
"""What a backend that confines commands makes of the command of the self-test."""
STRONG, WEAK = FakeBackend("bubblewrap", shell=CONFINES), FakeBackend("landlock", shell=CONFINES, is_weaker=True)


def confinement(folder: Path, network: NetworkMode = "off") -> Confinement:
    return Confinement(PathPolicy(folder / "workspaces/run/tree"), network=network)


def test_the_strongest_working_backend_is_selected_and_no_other_is_tried(tmp_path: Path) -> None:
    sandbox = select_backend(
        "auto", confinement(tmp_path), {}, attended=False, backends=[STRONG, FakeBackend("landlock", shell="touch x")]
    )
    assert sandbox is not None
    assert sandbox.backend is STRONG
    assert list((tmp_path / "workspaces").iterdir()) == []


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("{command}", "its self-test failed: a command reached files outside its folder"),
        ("cat ../secret", "its self-test failed: a command reached files outside its folder"),
        ("echo x > ../written; echo in > written; echo works", "its self-test failed: a command reached files"),
        ("echo bwrap: no permissions to create new namespace >&2; exit 1", "no permissions to create new namespace"),
        ("exit 0", "its self-test failed: no output"),
        ("echo works", "its self-test failed: works"),
    ],
)
def test_a_backend_that_fails_its_self_test_is_not_selected(tmp_path: Path, shell: str, words: str) -> None:
    (candidate,) = try_backends("auto", confinement(tmp_path), {}, [FakeBackend("bubblewrap", shell=shell)])
    assert candidate.sandbox is None
    assert words in candidate.reason


def test_an_unattended_run_uses_the_weaker_backend_only_on_request(tmp_path: Path) -> None:
    backends = [FakeBackend("bubblewrap", "/usr/bin/bwrap not found", kind="bubblewrap"), WEAK]
    with pytest.raises(SandboxMissing) as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=False, backends=backends)
    assert raised.value.exit_code == ExitCode.UNAVAILABLE
    assert "bubblewrap: /usr/bin/bwrap not found; landlock: works, but is weaker" in raised.value.message
    assert "--sandbox landlock" in raised.value.hint
    for mode, attended in (("landlock", False), ("auto", True), ("landlock", True)):
        sandbox = select_backend(mode, confinement(tmp_path), {}, attended=attended, backends=backends)
        assert sandbox is not None
        assert sandbox.backend is WEAK


def test_without_a_backend_a_person_is_asked_and_an_unattended_run_ends(tmp_path: Path) -> None:
    backends = [FakeBackend("bubblewrap", "no"), FakeBackend("landlock", "no")]
    assert select_backend("auto", confinement(tmp_path), {}, attended=True, backends=backends) is None
    assert select_backend("off", confinement(tmp_path), {}, attended=False, backends=backends) is None
    with pytest.raises(SandboxMissing) as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=False, backends=backends)
    assert "--sandbox off" in raised.value.hint


@pytest.mark.parametrize("attended", [False, True])
def test_a_named_backend_is_not_replaced_by_another(tmp_path: Path, attended: bool) -> None:
    with pytest.raises(SandboxMissing, match="sandbox bubblewrap is not available: no"):
        select_backend(
            "bubblewrap", confinement(tmp_path), {}, attended=attended, backends=[FakeBackend("bubblewrap", "no"), WEAK]
        )


def test_a_network_allow_list_needs_a_backend_that_supports_it(tmp_path: Path) -> None:
    backends = [FakeBackend("landlock", shell=CONFINES, allowlist=False)]
    with pytest.raises(SandboxMissing, match="cannot restrict the network to listed addresses") as raised:
        select_backend("landlock", confinement(tmp_path, "listed"), {}, attended=False, backends=backends)
    assert raised.value.hint == "use --sandbox bubblewrap, or --network off"


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (FakeBackend("seatbelt", "it requires macOS", kind="system"), "use --sandbox auto"),
        (FakeBackend("landlock", "it requires Linux 6.12"), "use --sandbox auto"),
        (
            FakeBackend("bubblewrap", "/usr/bin/bwrap not found", kind="bubblewrap"),
            "install bubblewrap, or use --sandbox auto",
        ),
        (
            FakeBackend("bubblewrap", "it may not make a user namespace: …", kind="namespaces"),
            "let bubblewrap make user namespaces (docs/guides/sandbox.md has the AppArmor profile); or use --sandbox auto",
        ),
    ],
)
def test_the_hint_for_a_named_backend_suggests_others_and_never_off(
    tmp_path: Path, named: FakeBackend, hint: str
) -> None:
    with pytest.raises(SandboxMissing) as raised:
        select_backend(named.name, confinement(tmp_path), {}, attended=False, backends=[named])
    assert raised.value.message == f"sandbox {named.name} is not available: {named.reason}"
    assert raised.value.hint == hint


def test_auto_skips_backends_of_other_systems(tmp_path: Path) -> None:
    backends = [FakeBackend("seatbelt", "it requires macOS", kind="system"), FakeBackend("landlock", "no")]
    assert [candidate.backend.name for candidate in try_backends("auto", confinement(tmp_path), {}, backends)] == [
        "landlock"
    ]
    assert [candidate.reason for candidate in try_backends("seatbelt", confinement(tmp_path), {}, backends)] == [
        "it requires macOS"
    ]


@pytest.mark.parametrize("attended", [False, True])
def test_an_unwritable_folder_is_not_blamed_on_a_backend(tmp_path: Path, attended: bool) -> None:
    (tmp_path / "workspaces").write_text("")
    with pytest.raises(WorkspaceError, match=r"workspaces cannot be written: File exists") as raised:
        select_backend("auto", confinement(tmp_path), {}, attended=attended, backends=[STRONG])
    assert raised.value.hint == "check that you may write there"


@dataclass(frozen=True)
class FailingBackend(FakeBackend):
    """A backend that fails to start a command."""

    error: int = errno.EMFILE
    launched: list[int | None] = field(default_factory=list)

    def prepare_launch(
        self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path
    ) -> Launch:
        self.launched.append(confinement.user)
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOSPC, errno.ENOMEM])
def test_exhausted_resources_are_not_blamed_on_a_backend_and_not_retried_as_root(
    tmp_path: Path, error: int, attended: bool
) -> None:
    backend = FailingBackend("bubblewrap", error=error)
    with pytest.raises(WorkspaceError, match=os.strerror(error)):
        select_backend("auto", confinement(tmp_path), {}, attended=attended, backends=[backend])
    assert len(backend.launched) == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids it to programs without a profile"),
        ("kernel/unprivileged_userns_clone", "0", "the kernel's setting forbids it"),
        ("user/max_user_namespaces", "0", "the kernel's limit is 0"),
    ],
)
def test_what_forbids_user_namespaces_is_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("15000\n" if value == "0" else "0\n")
    assert find_namespace_bar(tmp_path) == ""
    (tmp_path / name).write_text(f"{value}\n")
    bar = find_namespace_bar(tmp_path)
    assert bar == f"{words} ({name.replace('/', '.')} = {value})"
    needs_them, does_not = FakeBackend("bubblewrap", mounts=True), FakeBackend("landlock")
    assert explain_failure(needs_them, "bwrap: Permission denied", bar).kind == "namespaces"
    assert explain_failure(needs_them, "bwrap: Permission denied", "").reason == "bwrap: Permission denied"
    assert explain_failure(does_not, "no", bar).kind == "machine"


def test_where_namespaces_are_forbidden_the_hint_is_not_to_install_bubblewrap(tmp_path: Path) -> None:
    barred = FakeBackend("bubblewrap", "it may not make a user namespace: …", kind="namespaces")
    for backends in ([barred], [barred, WEAK]):
        with pytest.raises(SandboxMissing) as raised:
            select_backend("auto", confinement(tmp_path), {}, attended=False, backends=backends)
        assert raised.value.hint.startswith("let bubblewrap make user namespaces (docs/guides/sandbox.md")
        assert "install bubblewrap" not in raised.value.hint


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize(
    "words", ["bwrap: fork: Resource temporarily unavailable", "sh: write: No space left on device"]
)
def test_a_self_test_that_runs_out_of_processes_or_space_loosens_nothing(
    tmp_path: Path, words: str, attended: bool
) -> None:
    backends = [FakeBackend("bubblewrap", shell=f"echo '{words}' >&2; exit 1"), WEAK]
    with pytest.raises(WorkspaceError, match=words.rpartition(": ")[2]):
        select_backend("auto", confinement(tmp_path), {}, attended=attended, backends=backends)


def test_a_backend_that_cannot_be_started_is_unavailable(tmp_path: Path) -> None:
    candidates = try_backends(
        "auto", confinement(tmp_path), {}, [FailingBackend("bubblewrap", error=errno.EACCES), STRONG]
    )
    assert candidates[0].reason == "it cannot be started: Permission denied"
    assert candidates[1].sandbox is not None


def test_a_command_that_a_person_denies_is_not_run(tmp_path: Path) -> None:
    asked: list[str] = []

    def allow(command: str) -> bool:
        asked.append(command)
        return command.startswith("echo")

    commands = AskedCommands(LocalCommands({}), allow)
    results = [
        commands.run(command, timeout=10, cwd=tmp_path, log=tmp_path / "log")
        for command in ("echo hello", "touch here")
    ]
    assert [result.output for result in results] == ["hello\n", "the user did not allow this command to run\n"]
    assert not results[1].passed
    assert not (tmp_path / "here").exists()
    assert asked == ["echo hello", "touch here"]
