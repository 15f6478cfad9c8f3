"""The first instructions of the command line: where modules come from, and what other processes can see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = """
import sys, types
from autoroute.cli.app import main
from autoroute.app import api, run
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
PLANTED = "import os\nos.write(2, b'planted ' + __name__.encode() + b'\\n')\n"


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(PLANTED)


@pytest.fixture
def of_python(tmp_path: Path) -> set[str]:
    """What Python itself imports before it runs the first line of a package; nothing of ours can prevent that."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/__init__.py").write_text(
        "import sys\nprint(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    (tmp_path / "empty/__main__.py").write_text("")
    return set(run("-m", "empty", cwd=tmp_path).stdout.split())


@pytest.fixture
def planted(tmp_path: Path, of_python: set[str]) -> Path:
    """A repository with a file for each module that autoroute loads."""
    loaded = {*run("-c", LOADED, cwd=tmp_path).stdout.split(), "__future__"} - {"autoroute", *of_python}
    assert {"json", "typer", "typing", "ctypes"} < loaded
    plant(tmp_path, loaded)
    return tmp_path


@pytest.mark.parametrize("arguments", [("--version",), ("run", "missing.md"), ("runs",)])
def test_python_m_imports_nothing_of_ours_from_the_working_folder(planted: Path, arguments: tuple[str, ...]) -> None:
    done = run("-m", "autoroute", *arguments, cwd=planted)
    assert "planted" not in done.stderr
    assert done.returncode in (0, 65, 73)


def test_the_safe_path_of_python_protects_its_own_imports_too(planted: Path, of_python: set[str]) -> None:
    plant(planted, {*of_python, "autoroute"} - {"__main__"})
    done = run("-P", "-m", "autoroute", "--version", cwd=planted)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_of_another_name_runs_what_is_planted(planted: Path) -> None:
    # The control: without the first lines of the package, ``python -m`` runs the planted files.
    (planted / "other").mkdir()
    (planted / "other/__init__.py").write_text("import json\n")
    (planted / "other/__main__.py").write_text("")
    assert "planted json" in run("-m", "other", cwd=planted).stderr


def test_a_program_that_imports_autoroute_keeps_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("import autoroute\n")
    (tmp_path / "mine/__main__.py").write_text("import neighbor\n")
    (tmp_path / "neighbor.py").write_text("print('found')\n")
    assert run("-m", "mine", cwd=tmp_path).stdout == "found\n"


WHEN_LOADED = """
import ctypes, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "autoroute.cli.app":
            print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)  # PR_GET_DUMPABLE
sys.meta_path.insert(0, Watch())
if {closed}:
    sys.argv = ["autoroute", "--version"]
    from autoroute.__main__ import main
    main()
import autoroute.cli.app
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the attribute")
@pytest.mark.parametrize("closed", [True, False])
def test_the_process_is_closed_to_others_before_the_command_line_is_loaded(tmp_path: Path, closed: bool) -> None:
    done = run("-c", WHEN_LOADED.format(closed=closed), cwd=tmp_path)
    assert done.stdout.splitlines()[0] == ("0" if closed else "1"), done.stderr
