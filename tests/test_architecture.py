"""The rules of the house: which room may know which, counted over every import, lazy and typing ones included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import autoroute

ROOT = Path(autoroute.__file__).parent
WORDS = {
    *(
        "atomic",
        "regular_files",
        "cancellation",
        "error_phrases",
        "errors",
        "events",
        "invisible",
        "json_form",
        "messages",
        "network",
        "parsing",
        "patterns",
        "receipt",
        "redaction",
    ),
    *("routing", "state", "tables", "text", "version"),
}
FLOORS = [
    WORDS,
    {"phases", "workspace", "demo"},
    {"providers", "wire", "tools"},
    {"config", "preflight", "engine", "claude", "store", "render"},
    {"app"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PUBLIC = {"autoroute.version", *autoroute._MODULES.values()}
SEAMS = {"autoroute.wire", "autoroute.tools", "autoroute.workspace"}
OWNERS = {
    "httpx": {"autoroute.wire.http"},
    "anthropic": {"autoroute.wire.platforms"},
    "keyring": {"autoroute.providers.key_store"},
    "openai": set(),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"), str(path))
    for path in sorted(ROOT.rglob("*.py"))
    if "project" not in path.relative_to(ROOT).parts
}


def imports(module: str) -> Iterator[str]:
    """Every module that ``module`` imports, wherever the import stands; a name that is a submodule counts as one."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in TREES else node.module


def room(module: str) -> str:
    """The room of a module; ``__main__`` is a door of the command line."""
    name = module.split(".")[1] if "." in module else ""
    return "cli" if name == "__main__" else name


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in TREES} - {""} <= set(FLOOR)


@pytest.mark.parametrize("module", list(TREES))
def test_imports_point_down_the_floors(module: str) -> None:
    for imported in imports(module):
        if not imported.startswith("autoroute.") or room(imported) == room(module):
            continue
        if room(module) == "":
            assert imported in PUBLIC, f"{module} imports {imported}, which has none of its public names"
            continue
        both_words = {room(module), room(imported)} <= WORDS
        assert both_words or FLOOR[room(imported)] < FLOOR[room(module)], f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in TREES if room(name) == "engine"])
def test_the_engine_knows_seams_and_no_adapter_behind_them(module: str) -> None:
    for imported in imports(module):
        if imported.startswith("autoroute.") and room(imported) in {"wire", "tools", "workspace"}:
            assert imported in SEAMS, f"{module} imports {imported}"
        assert room(imported) != "providers" or not imported.startswith("autoroute."), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in TREES if room(name) in {"store", "render"}])
def test_store_and_renderers_see_events_only(module: str) -> None:
    for imported in imports(module):
        if imported.startswith("autoroute."):
            assert room(imported) in WORDS | {room(module)}, f"{module} imports {imported}"


def test_no_import_cycles_lazy_ones_included() -> None:
    graph = {
        module: {imported for imported in imports(module) if imported in TREES and imported != module}
        for module in TREES
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("library", "owners"), list(OWNERS.items()))
def test_a_library_has_one_owner(library: str, owners: set[str]) -> None:
    users = {module for module in TREES for name in imports(module) if name.split(".")[0] == library}
    assert users <= owners


def test_only_config_reads_the_environment() -> None:
    readers = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and isinstance(node.value, ast.Name)
        if node.value.id == "os"
    }
    assert {room(module) for module in readers} <= {"config"}


def test_broad_excepts_stand_at_three_boundaries_only() -> None:
    broad = [
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        # One that raises again, or has whoever waits for a thread's result raise it, hides nothing.
        if not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        if not any(isinstance(inner, ast.Attribute) and inner.attr == "set_exception" for inner in ast.walk(node))
    ]
    assert sorted(broad) == ["autoroute.app.drive", "autoroute.cli.app", "autoroute.tools"]


def test_commands_speak_through_the_one_place_that_cleans() -> None:
    echoing = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"echo", "secho"}
    }
    assert echoing == {"autoroute.cli.console"}


IMPORT_ALL = """
import importlib, sys
import typer, rich.console, rich.live, pydantic, pydantic_settings, platformdirs, httpx, tomli_w
touched = []
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".py", ".pyc")):
        return
    if event in ("open", "subprocess.Popen", "os.mkdir", "os.rename", "os.remove") or event.startswith("socket."):
        touched.append((event, str(arguments[:1])))
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not touched, (name, touched)
"""


def test_no_module_does_io_when_imported() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL, *TREES], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def loaded_by(*arguments: str) -> set[str]:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['autoroute', *sys.argv[1:]]\n"
        "try:\n    from autoroute.cli.app import main; main()\n"
        "except SystemExit:\n    pass\n"
        "print('\\n' + ' '.join(sorted(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


HEAVY = {
    "anthropic",
    "httpx",
    "httpx2",
    "openai",
    "pydantic_settings",
    "platformdirs",
    "tomli_w",
    "autoroute.engine.pipeline",
}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) & HEAVY == set()


def test_the_first_help_loads_not_even_what_typer_needs_to_parse() -> None:
    assert loaded_by("--help") & {"pydantic", "rich", "asyncio"} == set()


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, autoroute; print(' '.join(sorted(name for name in sys.modules if name.startswith('autoroute'))))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["autoroute", "autoroute.version"]


@pytest.mark.parametrize("name", autoroute.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(autoroute, name) is not None
    assert name == "__version__" or name in autoroute._MODULES


@pytest.mark.parametrize("module", [name for name in TREES if room(name) == "app"])
def test_the_application_layer_knows_no_terminal(module: str) -> None:
    """It reads no standard stream and no arguments, prints nothing, and sets no signal handler."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"stdin", "stdout", "stderr", "argv"}, f"{module} reads sys.{node.attr}"
        assert not (isinstance(node, ast.Name) and node.id in {"print", "input"}), f"{module} uses {node}"
    assert set(imports(module)) & {"signal", "typer", "rich", "termios", "tty"} == set()
