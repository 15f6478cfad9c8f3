"""Which folders beyond the system's a command needs to see: languages and tools that the user has installed.

A sandbox hides the home folder, where keys and logins are, and where pyenv, nvm, cargo and their like are too. What is
shown of it stands here, row by row; nothing else is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"))


@dataclass(frozen=True, slots=True)
class _Row:
    """A tool's folder: the variable that names it, where it is below the home folder without that, what of it is shown.

    ``parts`` are the parts that hold no keys; none is all of it.
    """

    variable: str
    place: str = ""
    parts: tuple[str, ...] = ()


_ROWS = (
    _Row("VIRTUAL_ENV"),
    _Row("CONDA_PREFIX"),
    _Row("JAVA_HOME"),
    _Row("GOROOT"),
    _Row("PYENV_ROOT", ".pyenv"),
    _Row("RBENV_ROOT", ".rbenv"),
    _Row("NODENV_ROOT", ".nodenv"),
    _Row("NVM_DIR", ".nvm"),
    _Row("FNM_DIR", ".local/share/fnm"),
    _Row("VOLTA_HOME", ".volta"),
    _Row("ASDF_DATA_DIR", ".asdf"),
    _Row("MISE_DATA_DIR", ".local/share/mise"),
    _Row("SDKMAN_DIR", ".sdkman", ("bin", "candidates", "src", "libexec", "etc")),
    _Row("RUSTUP_HOME", ".rustup"),
    _Row("CARGO_HOME", ".cargo", ("bin", "registry", "git")),
    _Row("GOPATH", "go", ("bin", "pkg/mod")),
    _Row("DOTNET_ROOT", ".dotnet"),
    _Row("BUN_INSTALL", ".bun", ("bin", "install")),
    _Row("DENO_INSTALL", ".deno", ("bin",)),
    _Row("PNPM_HOME", ".local/share/pnpm"),
    _Row("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
    _Row("UV_TOOL_DIR", ".local/share/uv/tools"),
    _Row("PIPX_HOME", ".local/share/pipx"),
    _Row("", ".local/pipx"),
    _Row("", ".local/bin"),
    _Row("", ".nix-profile"),
)
_BINARIES = frozenset({"bin", "sbin", "shims", "Scripts"})


@dataclass(frozen=True, slots=True)
class Toolchains:
    """``folders`` to show, none within another; ``variables`` say where they are once the home folder is another."""

    folders: tuple[Path, ...]
    variables: Mapping[str, str]


def find_toolchains(environ: Mapping[str, str], extra: Sequence[Path] = ()) -> Toolchains:
    """What the user's ``PATH`` and the tools' own variables lead to, and ``extra`` folders.

    A folder that holds the home folder, or is it, is never shown, unless it is among ``extra``.
    """
    home = Path(environ.get("HOME") or "/nonexistent")
    variables: dict[str, str] = {}
    found = [*_on_path(environ, home)]
    for row in _ROWS:
        named = environ.get(row.variable, "") if row.variable else ""
        folder = Path(named) if named else home / row.place
        if not (named or row.place) or not folder.is_absolute() or not folder.is_dir():
            continue
        if row.variable:
            variables[row.variable] = str(folder)
        found += [folder / part for part in row.parts] if row.parts else [folder, *_base_of(folder)]
    kept = [folder for folder in found if not home.is_relative_to(folder) and not home.is_relative_to(_real(folder))]
    return Toolchains(_outermost([*kept, *extra]), variables)


def own_python() -> Path:
    """The installation of the interpreter that runs us, for what of ours works inside a sandbox."""
    return Path(sys.base_prefix)


def _on_path(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    for entry in environ.get("PATH", "").split(":"):
        folder = Path(entry)
        if not folder.is_absolute() or not folder.is_dir():
            continue
        yield folder.parent if folder.name in _BINARIES and _is_installation(folder.parent, home) else folder


def _is_installation(folder: Path, home: Path) -> bool:
    """Whether what is beside a ``bin`` belongs to it, and is no project and no folder of the user's for everything."""
    is_project = (folder / ".git").exists() and not (folder / "shims").exists()  # pyenv and its like are clones
    if is_project or folder in (home, home / ".local", Path("/")):
        return False
    return any((folder / part).exists() for part in ("lib", "lib64", "libexec", "share", "pyvenv.cfg"))


def _base_of(environment: Path) -> Iterator[Path]:
    """The Python that a virtual environment was made from."""
    try:
        lines = (environment / "pyvenv.cfg").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "home" and Path(value.strip()).is_absolute():
            yield Path(value.strip()).parent


def _outermost(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Those that exist and are not shown already, each once, as they are named and as they really are."""
    shown: list[Path] = []
    every = {folder for named in folders if named.exists() for folder in (named, _real(named))}
    for folder in sorted(every, key=lambda folder: (len(folder.parts), folder)):
        if not any(folder.is_relative_to(known) for known in (*_SYSTEM, *shown)):
            shown.append(folder)
    return tuple(shown)


def _real(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder
