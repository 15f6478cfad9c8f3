"""Projects as users have them: a first run in a checkout that works for its owner works with nothing typed.

The owner's environment is theirs: no byte, permission or time of it changes. What the tests make by hand needs no
network. With ``AUTOROUTE_TEST_REGISTRIES=1`` dependencies come from the package registries, by the owner's own tools.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoroute.demo.script import ScriptedCall, ScriptedReply
from tests.commands import scripts
from tests.commands.conftest import SANDBOX, World
from tests.repositories import odd
from tests.repositories.odd import edit

_REGISTRIES = "AUTOROUTE_TEST_REGISTRIES"


@dataclass(frozen=True, slots=True)
class Project:
    """A project of an owner: ``build`` makes its checkout and its environment, in the folders ``environment``.

    The owner runs ``verify``, which fails before the change and passes after it. ``tools`` are the programs that it
    needs on this machine.
    """

    build: Callable[[World], None]
    verify: str
    change: ScriptedCall
    environment: tuple[str, ...]
    tools: tuple[str, ...] = ()
    registries: bool = False
    mounts: bool = False

    @property
    def name(self) -> str:
        """The name of the row, in words."""
        return self.build.__name__.strip("_").replace("_", " ")


def _owner(world: World, *command: str, needs_registry: bool = False) -> None:
    """Run a command as the owner of the project does, with what this machine needs to reach a registry."""
    machine = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environ = {**(machine if needs_registry else {}), **world.environ}
    done = subprocess.run(command, cwd=world.repository, env=environ, capture_output=True, text=True, check=False)
    if needs_registry and done.returncode != 0:
        pytest.skip(f"{' '.join(command)} fails here: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stdout + done.stderr


_SHOP = {
    "src/shop/__init__.py": "from tinydep import PRICE\n\n\ndef total(count):\n    return count\n",
    "test_shop.py": (
        "import unittest\n\nimport shop\n\n\nclass Test(unittest.TestCase):\n"
        "    def test_total(self):\n        self.assertEqual(shop.total(3), 6)\n"
    ),
    ".gitignore": ".venv/\nvenv/\nnode_modules/\ntarget/\n__pycache__/\n*.o\n/app\nbuild/\n*.egg-info/\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1.0"\n[tool.setuptools.packages.find]\nwhere = ["src"]\n',
}
_UNITTEST = "python -m unittest -q test_shop"
_TOTAL = edit("src/shop/__init__.py", "return count", "return count * PRICE")


def _python_with_an_editable_install_in_a_virtual_environment(world: World) -> None:
    odd.commit(world, _SHOP)
    _owner(world, sys.executable, "-m", "venv", "--without-pip", ".venv")
    (packages,) = (world.repository / ".venv/lib").glob("python3*/site-packages")
    (packages / "tinydep.py").write_text("PRICE = 2\n", encoding="utf-8")
    (packages / "__editable__.shop-1.0.pth").write_text(f"{world.repository}/src\n", encoding="utf-8")
    about = packages / "shop-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n", encoding="utf-8")
    (about / "INSTALLER").write_text("pip\n", encoding="utf-8")
    url = f'{{"dir_info": {{"editable": true}}, "url": "file://{world.repository}"}}'
    (about / "direct_url.json").write_text(url, encoding="utf-8")
    script = world.repository / ".venv/bin/check-shop"
    script.write_text(f"#!{world.repository}/.venv/bin/python\nimport shop\nassert shop.total(3) == 6\n", "utf-8")
    script.chmod(0o755)


_CART = {
    "package.json": '{"name": "cart", "private": true, "scripts": {"test": "tinytest"}}\n',
    "index.js": "module.exports = (count) => count;\n",
    ".gitignore": "node_modules/\n",
}


def _node_with_a_package_and_its_program(world: World) -> None:
    odd.commit(world, _CART)
    package = {
        "node_modules/tinytest/package.json": '{"name": "tinytest", "version": "1.0.0", "bin": "cli.js"}\n',
        "node_modules/tinytest/cli.js": "#!/usr/bin/env node\nprocess.exit(require(process.cwd())(3) === 6 ? 0 : 1);\n",
    }
    odd.put(world, package, mode=0o755)
    (world.repository / "node_modules/.bin").mkdir()
    (world.repository / "node_modules/.bin/tinytest").symlink_to("../tinytest/cli.js")


def _node_workspaces(world: World) -> None:
    files = {
        "package.json": '{"name": "root", "private": true, "workspaces": ["packages/*"]}\n',
        "packages/prices/package.json": '{"name": "prices", "version": "1.0.0"}\n',
        "packages/prices/index.js": "exports.price = 1;\n",
        "packages/cart/package.json": '{"name": "cart", "version": "1.0.0", "dependencies": {"prices": "*"}}\n',
        "packages/cart/test.js": "process.exit(require('prices').price * require('tiny') === 6 ? 0 : 1);\n",
        ".gitignore": "node_modules/\n",
    }
    odd.commit(world, files)
    tiny = "packages/cart/node_modules/tiny"
    odd.put(world, {f"{tiny}/package.json": '{"name": "tiny"}\n', f"{tiny}/index.js": "module.exports = 3;\n"})
    (world.repository / "node_modules").mkdir()
    for name in ("prices", "cart"):
        (world.repository / "node_modules" / name).symlink_to(f"../packages/{name}")


def _go_with_a_vendor_folder(world: World) -> None:
    files = {
        "go.mod": "module example.com/shop\n\ngo 1.19\n\nrequire example.com/price v1.0.0\n",
        "vendor/modules.txt": "# example.com/price v1.0.0\n## explicit\nexample.com/price\n",
        "vendor/example.com/price/price.go": "package price\n\nconst Price = 2\n",
        "shop.go": 'package shop\n\nimport "example.com/price"\n\nfunc Total(n int) int { return n + 0*price.Price }\n',
        "shop_test.go": (
            'package shop\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) {\n'
            "\tif Total(3) != 6 {\n\t\tt.Fatal(Total(3))\n\t}\n}\n"
        ),
    }
    odd.commit(world, files)


def _use_rust_of_this_machine(world: World) -> None:
    for name in ("CARGO_HOME", "RUSTUP_HOME"):
        world.environ[name] = os.environ.get(name) or str(Path.home() / f".{name.split('_')[0].lower()}")


def _rust_with_a_target_folder(world: World) -> None:
    files = {
        "Cargo.toml": '[package]\nname = "shop"\nversion = "1.0.0"\nedition = "2021"\n',
        "src/lib.rs": (
            "pub fn total(n: u32) -> u32 {\n    n\n}\n\n#[test]\nfn totals() {\n    assert_eq!(total(3), 6);\n}\n"
        ),
        ".gitignore": "/target\n",
    }
    _use_rust_of_this_machine(world)
    odd.put(world, files)
    _owner(world, "cargo", "build", "--quiet", "--offline", "--tests")
    odd.commit(world)


_C = {
    "total.c": "int total(int n) { return n; }\n",
    "test.c": "int total(int);\nint main(void) { return total(3) == 6 ? 0 : 1; }\n",
    ".gitignore": "*.o\n/app\nbuild/\n",
}
_C_TOTAL = edit("total.c", "return n;", "return 2 * n;")


def _c_with_make_and_its_objects(world: World) -> None:
    makefile = "app: total.o test.o\n\tcc -o $@ total.o test.o\n\ntest: app\n\t./app\n"
    odd.commit(world, {**_C, "Makefile": makefile})
    _owner(world, "make", "--silent", "app")


def _c_with_cmake_and_its_build_folder(world: World) -> None:
    lists = (
        "cmake_minimum_required(VERSION 3.10)\nproject(shop C)\nenable_testing()\nadd_executable(app total.c test.c)\n"
    )
    odd.commit(world, {**_C, "CMakeLists.txt": f"{lists}add_test(NAME total COMMAND app)\n"})
    _owner(world, "cmake", "-S", ".", "-B", "build")


def _python_of_the_owner(world: World, *steps: tuple[str, ...]) -> None:
    """Make a checkout whose dependency comes from the registry, with the owner's own steps."""
    project = (
        '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = ["six==1.17.0"]\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    files = {
        **_SHOP,
        "pyproject.toml": project,
        "src/shop/__init__.py": "import six\n\n\ndef total(count):\n    return count * six.PY3\n",
    }
    odd.put(world, files)
    for step in steps:
        _owner(world, *step, needs_registry=True)
    odd.commit(world)


_OF_SIX = edit("src/shop/__init__.py", "count * six.PY3", "2 * count * six.PY3")


def _python_with_venv_and_pip(world: World) -> None:
    odd.put(world, {"requirements.txt": "six==1.17.0\n"})
    _python_of_the_owner(
        world,
        (sys.executable, "-m", "venv", ".venv"),
        (".venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt", "--editable", "."),
    )


def _python_with_uv(world: World) -> None:
    world.environ["PATH"] = f"{_real_folder('uv')}{os.pathsep}{world.environ['PATH']}"
    _python_of_the_owner(world, ("uv", "sync", "--quiet", "--python", sys.executable))


def _python_with_poetry(world: World) -> None:
    odd.put(world, {"poetry.toml": "[virtualenvs]\nin-project = true\n"})
    _python_of_the_owner(world, ("poetry", "install", "--quiet", "--no-interaction"))


def _real_folder(tool: str) -> str:
    """Return where a program is, if a wrapper of a version manager is first on the path."""
    found = (
        subprocess.run(["pyenv", "which", tool], capture_output=True, text=True, check=False) if _has_pyenv() else None
    )
    return str(Path(found.stdout.strip() if found and found.stdout.strip() else shutil.which(tool) or "").parent)


def _has_pyenv() -> bool:
    return shutil.which("pyenv") is not None


_NEEDS_ODD = {
    "index.js": "const isOdd = require('is-odd');\nmodule.exports = (count) => (isOdd(count) ? count : 0);\n",
    "test.js": "process.exit(require('./index.js')(3) === 6 ? 0 : 1);\n",
    ".gitignore": "node_modules/\n",
}
_OF_ODD = edit("index.js", "? count : 0", "? 2 * count : 0")
_SCRIPT = '"scripts": {"test": "node test.js"}, "dependencies": {"is-odd": "3.0.1"}'


def _node_with_npm(world: World) -> None:
    odd.put(world, {**_NEEDS_ODD, "package.json": f'{{"name": "cart", "version": "1.0.0", {_SCRIPT}}}\n'})
    _owner(world, "npm", "install", "--silent", "--no-audit", "--no-fund", needs_registry=True)
    odd.commit(world)


def _node_with_pnpm_workspaces(world: World) -> None:
    files = {f"packages/cart/{name}": text for name, text in _NEEDS_ODD.items()}
    files |= {
        "package.json": '{"name": "root", "private": true}\n',
        "pnpm-workspace.yaml": "packages:\n  - packages/*\n",
        "packages/cart/package.json": f'{{"name": "cart", "version": "1.0.0", {_SCRIPT}}}\n',
        ".gitignore": "node_modules/\n",
    }
    odd.put(world, files)
    _owner(world, "pnpm", "install", "--silent", needs_registry=True)
    odd.commit(world)


def _go_with_a_dependency(world: World) -> None:
    files = {
        "go.mod": "module example.com/shop\n\ngo 1.19\n",
        "shop.go": 'package shop\n\nimport "rsc.io/quote"\n\nfunc Total(n int) int { return n + 0*len(quote.Hello()) }\n',
        "shop_test.go": (
            'package shop\n\nimport "testing"\n\nfunc TestTotal(t *testing.T) {\n'
            "\tif Total(3) != 6 {\n\t\tt.Fatal(Total(3))\n\t}\n}\n"
        ),
    }
    odd.put(world, files)
    _owner(world, "go", "mod", "tidy", needs_registry=True)
    odd.commit(world)


def _rust_with_a_dependency(world: World) -> None:
    files = {
        "Cargo.toml": (
            '[package]\nname = "shop"\nversion = "1.0.0"\nedition = "2021"\n\n[dependencies]\nitoa = "=1.0.11"\n'
        ),
        "src/lib.rs": (
            "pub fn total(n: u32) -> String {\n    itoa::Buffer::new().format(n).to_string()\n}\n\n"
            '#[test]\nfn totals() {\n    assert_eq!(total(3), "6");\n}\n'
        ),
        ".gitignore": "/target\n",
    }
    _use_rust_of_this_machine(world)
    odd.put(world, files)
    _owner(world, "cargo", "build", "--quiet", "--tests", needs_registry=True)
    odd.commit(world)


PROJECTS = (
    Project(
        _python_with_an_editable_install_in_a_virtual_environment,
        f"{_UNITTEST} && check-shop",
        _TOTAL,
        (".venv",),
        mounts=True,
    ),
    Project(
        _node_with_a_package_and_its_program,
        "npm test --silent",
        edit("index.js", "=> count;", "=> count * 2;"),
        ("node_modules",),
        tools=("node", "npm"),
    ),
    Project(
        _node_workspaces,
        "node packages/cart/test.js",
        edit("packages/prices/index.js", "price = 1", "price = 2"),
        ("node_modules", "packages/cart/node_modules"),
        tools=("node",),
    ),
    Project(
        _go_with_a_vendor_folder,
        "go test ./...",
        edit("shop.go", "return n + 0*price.Price", "return n * price.Price"),
        (),
        tools=("go",),
    ),
    Project(
        _rust_with_a_target_folder,
        "cargo test --quiet --offline",
        edit("src/lib.rs", "    n\n", "    2 * n\n"),
        ("target",),
        tools=("cargo",),
    ),
    Project(_c_with_make_and_its_objects, "make --silent test", _C_TOTAL, ("test.o", "app"), tools=("make", "cc")),
    Project(
        _c_with_cmake_and_its_build_folder,
        "cmake -S . -B build && cmake --build build && ctest --test-dir build",
        _C_TOTAL,
        ("build",),
        tools=("cmake", "cc"),
    ),
    Project(_python_with_venv_and_pip, _UNITTEST, _OF_SIX, (".venv",), registries=True, mounts=True),
    Project(_python_with_uv, _UNITTEST, _OF_SIX, (".venv",), ("uv",), True, True),
    Project(_python_with_poetry, f"poetry run {_UNITTEST}", _OF_SIX, (".venv",), ("poetry",), True, True),
    Project(_node_with_npm, "npm test --silent", _OF_ODD, ("node_modules",), ("npm",), registries=True),
    Project(
        _node_with_pnpm_workspaces,
        "pnpm --recursive test",
        edit("packages/cart/index.js", "? count : 0", "? 2 * count : 0"),
        ("node_modules", "packages/cart/node_modules"),
        ("pnpm",),
        registries=True,
    ),
    Project(
        _go_with_a_dependency,
        "go test ./...",
        edit("shop.go", "return n +", "return 2*n +"),
        (),
        ("go",),
        registries=True,
    ),
    Project(
        _rust_with_a_dependency,
        "cargo test --quiet --offline",
        edit("src/lib.rs", "format(n)", "format(2 * n)"),
        ("target",),
        ("cargo",),
        registries=True,
    ),
)


def _missing(project: Project) -> str:
    """Return why a project cannot be tested here, "" if it can."""
    if project.registries and not os.environ.get(_REGISTRIES):
        return f"needs package registries: set {_REGISTRIES}=1"
    if project.mounts and SANDBOX != "bubblewrap":
        return "needs a sandbox that mounts"
    return next((f"{tool} is not installed" for tool in project.tools if not shutil.which(tool)), "")


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_project_that_works_for_its_owner_works_in_a_run_with_nothing_typed(
    world: World, task: str, project: Project
) -> None:
    if reason := _missing(project):
        pytest.skip(reason)
    project.build(world)
    assert world.git("status", "--porcelain") == ""
    environment = _environment(world, project)
    code = (ScriptedReply(text="I change it.", calls=(project.change,)), scripts.DONE)
    files = [json.loads(project.change.arguments)["path"]]
    world.provide("anthropic", scripts.rules(plan=scripts.plan(project.verify, project.verify, files), code=code))

    first = world.autoroute("run", task, "--plan", "sonnet", "--format", "plain")
    second = world.autoroute("run", task, "--plan", "sonnet", "--format", "jsonl")

    assert first.code == 0, first.stdout + first.stderr
    assert second.code == 0, second.stdout + second.stderr
    events = [json.loads(line) for line in second.stdout.splitlines()]
    assert [event["command"] for event in events if event["type"] == "setup_ended"] == []
    assert _environment(world, project) == environment
    assert world.git("status", "--porcelain") == ""


def _environment(world: World, project: Project) -> Mapping[str, object]:
    """Return every file of the owner's environment, with permissions, time and content."""
    found: dict[str, object] = {}
    for name in project.environment:
        path = world.repository / name
        found |= (
            odd.files_of(path, times=True) if path.is_dir() else {name: (path.read_bytes(), path.stat().st_mtime_ns)}
        )
    assert found or not project.environment
    return found
