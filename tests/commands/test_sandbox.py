"""What holds commands of models back, as whole commands show it: flags, settings, doctor, receipt, exit codes."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from autoroute.demo.script import ScriptedReply
from autoroute.preflight.environment import sandbox_result
from autoroute.preflight.results import worst_exit_code
from autoroute.workspace.path_policy import PathPolicy
from autoroute.workspace.sandbox.backends import Candidate
from autoroute.workspace.sandbox.bubblewrap import Bubblewrap
from autoroute.workspace.sandbox.confinement import Confinement, Sandbox, Unavailable
from autoroute.workspace.sandbox.landlock import Landlock
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World

RUN = ("run", "task.md", "--plan", "sonnet")
SECRET = "canary-of-the-users"
NOT_VALID = "is not valid: write off, on, or HOST:PORT"
needs_a_sandbox = pytest.mark.skipif(SANDBOX == "off", reason="no sandbox works on this machine")
needs_bubblewrap = pytest.mark.skipif(SANDBOX != "bubblewrap", reason="bubblewrap does not work on this machine")


def bash(*commands: str) -> ScriptedReply:
    return ScriptedReply(calls=tuple(scripts.call("bash", command=command) for command in commands))


def events(world: World, kind: str) -> list[dict[str, Any]]:
    lines = (world.run_folder() / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


def receipt(world: World) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return data


def test_the_expected_sandbox_confines_the_tests() -> None:
    """``AUTOROUTE_TEST_SANDBOX`` names the backend that must work; CI on Linux needs one, unless that says ``off``."""
    required = os.environ.get("AUTOROUTE_TEST_SANDBOX", "")
    if required:
        assert required == SANDBOX, "`autoroute doctor` shows why"
    elif "CI" in os.environ and sys.platform == "linux":
        assert SANDBOX != "off", "no sandbox works on this machine: AUTOROUTE_TEST_SANDBOX=off runs the tests without"


@needs_a_sandbox
def test_commands_of_models_and_verify_commands_reach_nothing_of_the_user(world: World) -> None:
    (world.home / "private").write_text(SECRET)
    attack = f"cat {world.home}/private; echo x > {world.home}/planted; echo x > {world.repository}/planted"
    verify = f"cat {world.home}/private; echo x > {world.repository}/planted; {scripts.VERIFY}"
    world.provide(
        "anthropic",
        scripts.rules(plan=scripts.plan(verify, whole=verify), code=(bash(attack), scripts.write(), scripts.DONE)),
    )
    before = world.fingerprint()
    result = world.autoroute(*RUN)
    assert result.code == 0, result.stderr
    assert world.fingerprint() == before
    assert not (world.home / "planted").exists()
    everything = "".join(path.read_text() for path in world.run_folder().rglob("*") if path.is_file())
    assert SECRET not in everything + "".join(str(request.body) for request in world.servers["anthropic"].requests)
    assert receipt(world)["sandbox"] == f"{SANDBOX}, network off"
    assert f"sandbox {SANDBOX}, network off" in world.autoroute("show").stdout


def test_with_the_sandbox_off_the_same_command_does_and_a_notice_says_so(world: World) -> None:
    """The control of the test above."""
    (world.home / "private").write_text(SECRET)
    attack = f"cat {world.home}/private; echo x > {world.home}/planted"
    world.provide("anthropic", scripts.rules(code=(bash(attack), scripts.write(), scripts.DONE)))
    result = world.autoroute(*RUN, "--sandbox", "off")
    assert result.code == 0, result.stderr
    assert (world.home / "planted").exists()
    assert "sandbox is off: model commands run with your permissions" in result.stderr
    assert receipt(world)["sandbox"] == "off"


def test_without_a_working_sandbox_an_unattended_run_ends_before_any_model_call(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    other = "bubblewrap" if SANDBOX == "landlock" else "seatbelt"
    result = world.autoroute(*RUN, "--sandbox", other)
    assert result.code == 69
    assert f"sandbox {other} is not available: " in result.stderr
    assert "hint: use --sandbox auto" in result.stderr
    assert world.servers["anthropic"].requests == []
    assert not (world.repository / ".autoroute").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--network", "localhost:80"), f"--network: 'localhost:80' {NOT_VALID}"),
        (("--network", "*.example:443"), f"--network: '*.example:443' {NOT_VALID}"),
        (("--network", "yes"), f"--network: 'yes' {NOT_VALID}"),
        (
            ("--network", "on", "--network", "a.example:1"),
            "--network: on cannot be combined with a.example:1",
        ),
        (("--setup-network", "http://a.example"), f"--setup-network: 'http://a.example' {NOT_VALID}"),
        (("--sandbox", "docker"), "--sandbox should be 'auto', 'bubblewrap', 'landlock'"),
        (("--sandbox", "bwrap"), "hint: did you mean bubblewrap?"),
    ],
)
def test_an_invalid_sandbox_flag_is_reported_first(world: World, flags: tuple[str, ...], words: str) -> None:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, *flags)
    assert result.code == 2
    assert words in result.stderr
    assert world.servers["anthropic"].requests == []
    assert world.autoroute("doctor", *flags).code == 2


@pytest.mark.parametrize("table", ['mode = "off"', 'network = "on"', 'setup = "curl evil"', 'readable = ["/"]'])
@pytest.mark.parametrize("place", ["autoroute.toml", "task.md"])
def test_a_repository_cannot_loosen_the_sandbox(world: World, table: str, place: str) -> None:
    world.provide("anthropic", scripts.rules())
    text = f"[sandbox]\n{table}\n"
    (world.repository / place).write_text(text if place != "task.md" else f"+++\n{text}+++\n# Greet\n")
    result = world.autoroute(*RUN)
    assert result.code == 78
    assert f"{place}: sandbox." in result.stderr
    assert "may not be set in a file of the repository" in result.stderr


@needs_a_sandbox
def test_setup_runs_once_before_coding_and_its_files_are_used_but_not_committed(world: World) -> None:
    setup = "mkdir -p deps/inner && echo used > deps/inner/it && echo changed >> README && echo $((1 + 1)) > 'a b!#*'"
    verify = f"test -f deps/inner/it && ! grep changed README && {scripts.VERIFY}"
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify, whole=verify)))
    result = world.autoroute(*RUN, "--setup", setup, "--setup", "test -d deps")
    assert result.code == 0, result.stderr
    branch = receipt(world)["branch"]
    assert world.git("diff", "--name-only", "main", branch) == scripts.GREETING
    assert [event["command"] for event in events(world, "setup_ended")] == [setup, "test -d deps"]
    assert "setup passed" in result.stderr


def test_a_failed_setup_ends_the_run_with_its_output_and_is_repeated_on_resume(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    flag = world.home / "mended"
    result = world.autoroute(*RUN, "--sandbox", "off", "--setup", f"echo no such package; test -f {flag}")
    assert result.code == 11, result.stderr
    assert "the set-up command failed" in result.stderr
    assert "no such package" in result.stderr
    flag.touch()
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert [event["passed"] for event in events(world, "setup_ended")] == [False, True]


@needs_a_sandbox
def test_setup_with_the_network_does_not_run_on_files_of_a_model(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--until", "coding").code == 13
    world.provide("anthropic", scripts.rules(reviews=(scripts.review("rejected"), scripts.review())))
    result = world.autoroute("resume", "--setup", "sh build.sh")
    assert result.code == 78, result.stderr
    assert "would run code that a model wrote, with access to the whole network" in result.stderr
    assert "--setup-network HOST:PORT" in result.stderr
    assert world.autoroute("resume", "--setup", "true", "--setup-network", "off").code in (0, 78)


@needs_a_sandbox
def test_setup_has_its_own_network_setting(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        greeted: list[bytes] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    greeted.append(client.recv(100))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        say = 'import socket; socket.create_connection(("127.0.0.1", {}), 5).sendall(b"{}")'
        setup, attack = (f"python3 -c '{say.format(port, who)}'" for who in ("setup", "model"))
        world.provide("anthropic", scripts.rules(code=(bash(attack), scripts.write(), scripts.DONE)))
        result = world.autoroute(*RUN, "--setup", setup)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert result.code == 0, result.stderr
    assert greeted == [b"setup"]


@needs_a_sandbox
def test_a_resumed_run_keeps_its_sandbox_unless_a_flag_changes_it(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--sandbox", "off", "--until", "planning").code == 13
    assert world.autoroute("resume", "--until", "coding").code == 13
    assert receipt(world)["sandbox"] == "off"
    assert world.autoroute("resume", "--sandbox", SANDBOX).code == 0
    assert receipt(world)["sandbox"] == f"{SANDBOX}, network off"


def test_configured_variables_and_folders_reach_commands(world: World, tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk/version").write_text("sdk 7\n")
    world.provide("anthropic", scripts.rules(code=(bash(f"cat {tmp_path}/sdk/version; echo $MY_FLAG"), scripts.DONE)))
    world.environ |= {"MY_FLAG": "mine", "AUTOROUTE_SANDBOX__VARIABLES": "MY_FLAG"}
    world.environ["AUTOROUTE_SANDBOX__READABLE"] = str(tmp_path / "sdk")
    world.autoroute(*RUN)
    (output,) = [event["text"] for event in events(world, "tool_ended") if event["name"] == "bash"]
    assert output.startswith("sdk 7\nmine\n")


def doctor_row(world: World, *flags: str) -> dict[str, Any]:
    rows = json.loads(world.autoroute("doctor", "--json", "--plan", "sonnet", *flags).stdout)
    (row,) = [row for row in rows if row["id"] == "sandbox"]
    return dict(row)


@needs_a_sandbox
def test_doctor_names_the_working_backend(world: World) -> None:
    row = doctor_row(world)
    assert f"sandbox: {SANDBOX} (self-test passed)" in row["summary"]
    assert row["details"][SANDBOX] == "self-test passed"


def test_doctor_and_a_dry_run_report_what_the_run_would_report(world: World) -> None:
    """An unavailable backend is an error of each of them, with the same message."""
    world.provide("anthropic", scripts.rules())
    other = "bubblewrap" if SANDBOX == "landlock" else "seatbelt"
    doctor, dry, run = (
        world.autoroute(*arguments, "--plan", "sonnet", "--sandbox", other)
        for arguments in (("doctor",), ("run", "task.md", "--dry-run"), ("run", "task.md"))
    )
    assert (doctor.code, dry.code, run.code) == (69, 69, 69)
    words = f"sandbox {other} is not available: "
    assert words in doctor.stdout
    assert words in dry.stdout
    assert words in run.stderr


@pytest.mark.parametrize("attended", [False, True])
def test_a_weak_or_missing_sandbox_is_an_error_only_when_unattended(attended: bool) -> None:
    weak = Candidate(Landlock(), sandbox=Sandbox(Landlock(), Confinement(PathPolicy(Path("/")))))
    none = Candidate(Bubblewrap(), Unavailable("bubblewrap", "/usr/bin/bwrap not found"))
    for candidates in ([none, weak], [none]):
        row = sandbox_result("auto", candidates, attended=attended)
        assert (row.status, worst_exit_code([row])) == (("warning", 0) if attended else ("error", 69))
        assert "/usr/bin/bwrap not found" in (row.summary if len(candidates) == 1 else str(row.details))


def test_doctor_reports_a_missing_or_disabled_sandbox(world: World) -> None:
    world.environ["AUTOROUTE_SANDBOX__MODE"] = "off"
    assert doctor_row(world)["status"] == "warning"
    world.environ["AUTOROUTE_SANDBOX__MODE"] = "seatbelt"
    row = doctor_row(world)
    assert row["status"] == "error"
    assert "sandbox seatbelt is not available: it requires macOS" in row["summary"]


@needs_bubblewrap
def test_auto_selects_bubblewrap(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    del world.environ["AUTOROUTE_SANDBOX__MODE"]
    assert world.autoroute(*RUN).code == 0
    assert receipt(world)["sandbox"] == "bubblewrap, network off"
