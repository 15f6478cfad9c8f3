"""The environment of commands, as whole commands show it: what tests import is the change, or nothing is spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autoroute.app.sandbox import confinement_for
from autoroute.app.setup import choose_setup
from autoroute.config.paths import setup_answers_file
from autoroute.routing import SandboxSettings
from autoroute.workspace.lock_files import SetupProposal
from autoroute.workspace.repository import Repository
from autoroute.workspace.sandbox.backends import try_backends
from tests.commands import scripts
from tests.commands.conftest import World

RUN = ("run", "task.md", "--plan", "sonnet", "--sandbox")
MODULE = "src/ledger/__init__.py"
VERIFY = "python3 -c 'import ledger; assert ledger.total([1, 2]) == 3'"
LAYERS = ["off"] + [
    mode
    for mode in ("bubblewrap", "landlock")
    if any(candidate.sandbox for candidate in try_backends(mode, *confinement_for(SandboxSettings(), os.environ, None)))
]


def make_ledger(world: World) -> None:
    """Make the repository a Python project in ``src``, as the user has it checked out."""
    (world.repository / "src/ledger").mkdir(parents=True)
    (world.repository / MODULE).write_text("def total(numbers):\n    return sum(numbers)\n", encoding="utf-8")
    (world.repository / "pyproject.toml").write_text('[project]\nname = "ledger"\nversion = "1"\n', encoding="utf-8")
    (world.repository / ".gitignore").write_text(".venv/\n", encoding="utf-8")
    world.git("add", "src", "pyproject.toml", ".gitignore")
    world.git("commit", "--quiet", "--message=Add the ledger")


def make_environment(world: World, folder: Path, *, active: bool = True) -> Path:
    """Create a virtual environment; return its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    if active:
        world.environ |= {"VIRTUAL_ENV": str(folder), "PATH": f"{folder}/bin:{world.environ['PATH']}"}
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    return packages


def install(packages: Path, **record: Any) -> None:
    metadata = packages / "ledger-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ledger\nVersion: 1\n", encoding="utf-8")
    (metadata / "direct_url.json").write_text(json.dumps(record), encoding="utf-8")


def break_the_ledger(world: World) -> None:
    """Let the model write code over the module that no test of it could pass."""
    code = (scripts.write("raise SystemExit(1)\n", MODULE), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY), code=code))


@pytest.mark.parametrize("layer", LAYERS)
def test_an_active_copy_of_the_project_stops_the_run_before_a_token(world: World, layer: str) -> None:
    make_ledger(world)
    packages = make_environment(world, world.home / "work")
    install(packages, url=world.repository.as_uri(), dir_info={})
    (packages / "ledger.py").write_text((world.repository / MODULE).read_text(encoding="utf-8"), encoding="utf-8")
    break_the_ledger(world)
    result = world.autoroute(*RUN, layer)
    assert result.code == 78, result.stderr
    assert f"{world.home}/work holds a copy of this project (ledger, from {world.repository})" in result.stderr
    assert "tests would import the copy, not the change" in result.stderr
    assert f"{world.home}/work/bin/python -m pip install -e {world.repository}" in result.stderr
    assert "deactivate it" in result.stderr
    assert world.servers["anthropic"].requests == []
    assert not (world.repository / ".autoroute").exists()


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer != "bubblewrap"])
def test_an_active_editable_install_stops_the_run_where_commands_see_the_checkout(world: World, layer: str) -> None:
    make_ledger(world)
    packages = make_environment(world, world.home / "work")
    install(packages, url=world.repository.as_uri(), dir_info={"editable": True})
    (packages / "__editable__.ledger-1.pth").write_text(f"{world.repository}/src\n", encoding="utf-8")
    break_the_ledger(world)
    result = world.autoroute(*RUN, layer)
    assert result.code == 78, result.stderr
    assert f"work holds this project as an editable install (ledger, from {world.repository})" in result.stderr
    assert "tests would import your checkout, not the change" in result.stderr
    assert "use --sandbox bubblewrap" in result.stderr
    assert world.servers["anthropic"].requests == []


@pytest.mark.parametrize("layer", LAYERS)
def test_an_editable_install_in_the_checkout_leads_to_the_change(world: World, layer: str) -> None:
    make_ledger(world)
    packages = make_environment(world, world.repository / ".venv")
    install(packages, url=world.repository.as_uri(), dir_info={"editable": True})
    (packages / "__editable__.ledger-1.pth").write_text(f"{world.repository}/src\n", encoding="utf-8")
    break_the_ledger(world)
    before = world.fingerprint()
    broken = world.autoroute(*RUN, layer)
    assert f"verify FAILED (exit code 1): {VERIFY}" in broken.stderr
    assert broken.code not in (0, 78)
    code = (scripts.write("def total(numbers):\n    return sum(list(numbers))\n", MODULE), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(VERIFY, whole=VERIFY), code=code))
    result = world.autoroute(*RUN, layer)
    assert result.code == 0, result.stderr
    if layer != "bubblewrap":
        assert "in the copy for commands it leads to the workspace" in result.stderr
        assert 'no change is approved that no verify command notices (verify.canary = "require")' in result.stderr
    assert world.fingerprint() == before


@pytest.mark.parametrize("canary", ["off", "warn"])
def test_where_a_set_up_leaves_such_an_environment_in_use_nothing_unnoticed_is_approved(
    world: World, canary: str
) -> None:
    make_ledger(world)
    packages = make_environment(world, world.home / "work")
    install(packages, url=world.repository.as_uri(), dir_info={})
    (packages / "ledger.py").write_text("def total(numbers):\n    return sum(numbers)\n", encoding="utf-8")
    break_the_ledger(world)
    world.environ |= {"AUTOROUTE_VERIFY__CANARY": canary, "AUTOROUTE_LIMITS__MAX_ROUNDS": "1"}
    result = world.autoroute(*RUN, "off", "--setup", "true")
    assert result.code == 10, result.stderr
    assert "no verify command tests the change" in result.stderr


def test_a_setup_command_takes_the_place_of_such_an_environment(world: World) -> None:
    make_ledger(world)
    install(make_environment(world, world.home / "work"), url=world.repository.as_uri(), dir_info={})
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "off", "--setup", "true")
    assert result.code == 0, result.stderr
    assert "work holds a copy of this project" in result.stderr


def test_doctor_and_a_dry_run_have_a_row_for_it(world: World) -> None:
    make_ledger(world)
    world.provide("anthropic", scripts.rules())
    routes = ("--plan", "sonnet", "--code", "sonnet", "--sandbox", "off")
    rows = {row["id"]: row for row in json.loads(world.autoroute("doctor", *routes, "--json").stdout)}
    assert rows["environments"]["status"] == "ok"
    install(make_environment(world, world.home / "work"), url=world.repository.as_uri(), dir_info={})
    doctor = world.autoroute("doctor", *routes, "--json")
    (row,) = [row for row in json.loads(doctor.stdout) if row["id"] == "environments"]
    assert doctor.code == 78
    assert row["status"] == "error"
    assert "holds a copy of this project" in row["summary"]
    dry = world.autoroute(*RUN, "off", "--dry-run")
    assert dry.code == 78
    assert "holds a copy of this project" in dry.stdout


@pytest.mark.parametrize("layer", LAYERS)
def test_environments_of_the_checkout_are_used_and_stay_as_they_are(world: World, layer: str) -> None:
    (world.repository / ".gitignore").write_text(".venv/\nnode_modules\n", encoding="utf-8")
    world.git("add", ".gitignore")
    world.git("commit", "--quiet", "--message=Ignore environments")
    packages = make_environment(world, world.repository / ".venv", active=False)
    (packages / "dependency.py").write_text("X = 1\n", encoding="utf-8")
    programs = world.repository / "node_modules/.bin"
    programs.mkdir(parents=True)
    (programs / "tested").write_text("#!/bin/sh\ngrep -q 'hello, world' hello.txt\n", encoding="utf-8")
    (programs / "tested").chmod(0o755)
    (programs / "old").touch()
    spoil = (
        "echo 'X = 2' > .venv/lib/python3*/site-packages/dependency.py; echo x > .venv/new; rm -f node_modules/.bin/old"
    )
    verify = "python3 -c 'import dependency, sys; assert dependency.X and sys.prefix.endswith(\".venv\")' && tested"
    code = (scripts.write(), scripts.DONE)
    world.provide("anthropic", scripts.rules(plan=scripts.plan(f"{verify} && ({spoil})", whole="true"), code=code))
    before = world.fingerprint()
    result = world.autoroute(*RUN, layer)
    assert result.code == 0, result.stderr
    assert world.fingerprint() == before
    system = [str(request.body) for request in world.servers["anthropic"].turns]
    assert any("first on PATH: .venv (Python 3.11), node_modules (Node packages)." in text for text in system)


def test_nothing_is_carried_if_the_user_says_so(world: World) -> None:
    make_ledger(world)
    install(make_environment(world, world.repository / ".venv", active=False), url="file:///x", dir_info={})
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "off", "--carry", "none")
    assert result.code == 0, result.stderr
    assert not any("first on PATH" in str(request.body) for request in world.servers["anthropic"].turns)


SETUP = "python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt"


def require_packages(world: World) -> None:
    """Make the repository one whose dependencies are nowhere, and whose installer brings what a file says."""
    (world.repository / "requirements.txt").write_text("tomlish==1.0\n", encoding="utf-8")
    world.git("add", "requirements.txt")
    world.git("commit", "--quiet", "--message=Require tomlish")
    programs = world.home / "programs"
    programs.mkdir()
    # In place of pip, which would need a network: the environment that it makes has the package.
    (programs / "python3").write_text(
        "#!/bin/sh\nmkdir -p .venv/bin .venv/lib/python3.11/site-packages\n"
        "echo 'version = 3.11' > .venv/pyvenv.cfg\nprintf '#!/bin/sh\\necho installed > .venv/installed\\n' > .venv/bin/pip\n"
        "printf '#!/bin/sh\\ntest -f .venv/installed\\n' > .venv/bin/python\nchmod +x .venv/bin/*\n",
        encoding="utf-8",
    )
    (programs / "python3").chmod(0o755)
    world.environ["PATH"] = f"{programs}:{world.environ['PATH']}"


def test_without_a_terminal_missing_dependencies_stop_the_run_before_a_token(world: World) -> None:
    require_packages(world)
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "off")
    assert result.code == 78
    assert "commands would not find the dependencies of requirements.txt" in result.stderr
    assert f'hint: use --setup "{SETUP}", which --setup auto does; or --setup none' in result.stderr
    assert world.servers["anthropic"].requests == []
    assert not (world.repository / ".autoroute").exists()
    doctor = world.autoroute("doctor", "--plan", "sonnet", "--code", "sonnet", "--sandbox", "off", "--json")
    (row,) = [row for row in json.loads(doctor.stdout) if row["id"] == "setup"]
    assert doctor.code == 78
    assert (row["status"], SETUP in row["remediation"]) == ("error", True)


@pytest.mark.parametrize("layer", LAYERS)
def test_setup_auto_runs_what_the_lock_file_calls_for_and_its_environment_is_used(world: World, layer: str) -> None:
    require_packages(world)
    verify = 'python && test -n "$VIRTUAL_ENV"'
    world.environ["AUTOROUTE_SANDBOX__READABLE"] += f",{world.home}/programs"
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify, whole=verify)))
    result = world.autoroute(*RUN, layer, "--setup", "auto")
    assert result.code == 0, result.stderr
    assert "setup passed" in result.stderr
    assert not (world.repository / ".venv").exists()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_second_run_uses_what_the_set_up_of_the_first_made(world: World, layer: str) -> None:
    require_packages(world)
    verify = 'python && test -n "$VIRTUAL_ENV"'
    world.environ["AUTOROUTE_SANDBOX__READABLE"] += f",{world.home}/programs"
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify, whole=verify)))

    def run(changed: str, *flags: str) -> str:
        with (world.repository / changed).open("a", encoding="utf-8") as file:
            file.write("# more\n")
        world.git("commit", "--quiet", "--all", f"--message=Change {changed}")
        result = world.autoroute(*RUN, layer, "--setup", "auto", *flags)
        assert result.code == 0, result.stderr
        (line,) = [line for line in result.stderr.splitlines() if "setup" in line]
        return line

    assert "setup passed" in run("README")
    first = world.run_folder().name
    assert f"setup reused, made by run {first}: {SETUP}" in run("README")
    assert "setup passed" in run("README", "--cache", "none")
    assert "setup passed" in run("requirements.txt")
    assert "setup reused" in run("README")
    cleaned = world.autoroute("clean", "--yes").stdout
    assert cleaned.count("made this with its set-up, for later runs") == 2
    assert "setup passed" in run("README")


def test_setup_none_asks_for_nothing(world: World) -> None:
    require_packages(world)
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "off", "--setup", "none").code == 0


def test_a_setup_whose_program_is_missing_is_no_setup(world: World) -> None:
    (world.repository / "composer.lock").write_text("{}", encoding="utf-8")
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "off", "--setup", "auto")
    assert result.code == 78
    assert "composer not found on PATH" in result.stderr


@pytest.mark.parametrize("layer", LAYERS)
def test_only_setup_commands_get_setup_variables_and_their_values_are_hidden(world: World, layer: str) -> None:
    world.environ |= {
        "REGISTRY_TOKEN": "canary-of-the-registry-0123",
        "AUTOROUTE_SANDBOX__SETUP_VARIABLES": "REGISTRY_TOKEN",
    }
    verify = f'test -z "$REGISTRY_TOKEN" && {scripts.VERIFY}'
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify, whole=verify)))
    show = 'test -n "$REGISTRY_TOKEN" && echo "it is $REGISTRY_TOKEN" && exit 1'
    assert world.autoroute(*RUN, layer, "--setup", show).code == 11
    result = world.autoroute("resume", "--setup", 'test -n "$REGISTRY_TOKEN"')
    assert result.code == 0, result.stderr
    everything = "".join(path.read_text() for path in world.run_folder().rglob("*") if path.is_file())
    assert "it is [redacted]" in everything
    assert "canary-of-the-registry" not in everything + result.stderr + result.stdout


def test_a_person_is_asked_once_and_the_answer_is_kept(world: World) -> None:
    require_packages(world)
    (environ, repository), asked = (world.environ, Repository.discover(world.repository, world.environ)), []

    def choose(answer: bool, **settings: Any) -> tuple[str, ...]:
        def ask(proposals: Sequence[SetupProposal]) -> bool:
            asked.append([proposal.command for proposal in proposals])
            return answer

        return choose_setup(SandboxSettings(**settings), environ, repository, [], ask)

    assert choose(True) == (SETUP,)
    assert choose(False) == (SETUP,)
    assert asked == [[SETUP]]
    assert choose(False, setup=("none",)) == ()
    setup_answers_file(environ).write_text("{", encoding="utf-8")
    assert choose(False) == ()
    assert choose(True) == ()
    assert len(asked) == 2
