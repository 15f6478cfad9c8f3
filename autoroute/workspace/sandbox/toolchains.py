"""Finding the folders of the user's languages and tools, which commands need to read beyond those of the system.

A sandbox hides the home folder, which contains keys and logins, but also pyenv, nvm, cargo and the like. Only what is
listed here is shown of it.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.bounded_files import read_start

_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"))


_BIN_FOLDERS = frozenset({"bin", "sbin", "shims", "Scripts"})
_INSTALLED = ("bin", "sbin", "lib", "lib64", "libexec", "include", "share", "pyvenv.cfg")
"""The parts of an installation. Anything else beside its ``bin`` may be the user's, such as a file with a key."""
_VERSION_FOLDERS = ("shims", "versions", "installs")
"""The folders of a version manager: installations, each shown in full except for ``_KEY_FILES``."""
_KEY_FILES = ("pip.conf", ".env", ".condarc", ".npmrc", "etc/npmrc", "conda-meta/state")
"""Files of the user inside an installation of Python or Node; they may contain tokens of package registries."""
_MAX_DEPTH = 4
"""Folders from a version manager down to an installation: ``versions/3.12/envs/work``, ``tools/image/node/24``."""


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool: the variable that names its folder, the default below the home folder, and the parts to show.

    ``parts`` contain no keys; () shows everything except ``_KEY_FILES``.
    """

    variable: str
    default: str = ""
    parts: tuple[str, ...] = ()


_TOOLS = (
    _Tool("VIRTUAL_ENV", parts=_INSTALLED),
    # conda recognizes an environment by its history. The ``state`` beside it has the variables of the user, keys too.
    _Tool("CONDA_PREFIX", parts=(*_INSTALLED, "condabin", "ssl", "conda-meta/history")),
    _Tool("JAVA_HOME", parts=(*_INSTALLED, "conf", "jre", "jmods", "legal", "release")),
    _Tool("GOROOT"),
    _Tool("PYENV_ROOT", ".pyenv"),
    _Tool("RBENV_ROOT", ".rbenv"),
    _Tool("NODENV_ROOT", ".nodenv"),
    _Tool("NVM_DIR", ".nvm"),
    _Tool("FNM_DIR", ".local/share/fnm"),
    _Tool("VOLTA_HOME", ".volta"),
    _Tool("ASDF_DATA_DIR", ".asdf"),
    _Tool("MISE_DATA_DIR", ".local/share/mise"),
    _Tool("SDKMAN_DIR", ".sdkman", ("bin", "candidates", "src", "libexec", "etc")),
    _Tool("RUSTUP_HOME", ".rustup"),
    _Tool("CARGO_HOME", ".cargo", ("bin", "registry", "git")),
    _Tool("GOPATH", "go", ("bin", "pkg/mod")),
    _Tool(
        "DOTNET_ROOT", ".dotnet", ("dotnet", "host", "sdk", "sdk-manifests", "shared", "packs", "templates", "tools")
    ),
    _Tool("BUN_INSTALL", ".bun", ("bin", "install")),
    _Tool("DENO_INSTALL", ".deno", ("bin",)),
    _Tool("PNPM_HOME", ".local/share/pnpm"),
    _Tool("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
    _Tool("UV_TOOL_DIR", ".local/share/uv/tools"),
    _Tool("PIPX_HOME", ".local/share/pipx"),
    _Tool("", ".local/pipx"),
    _Tool("", ".local/bin"),
    _Tool("", ".nix-profile", (*_INSTALLED, "etc/ssl")),
)
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Variables that name the file of trusted certificates."""
_STORES = (Path("/nix/store"), Path("/gnu/store"))
"""Where NixOS and Guix keep all programs; their links lead from one to the other."""


@dataclass(frozen=True, slots=True)
class Toolchains:
    """The ``folders`` to show, none within another, and the ``variables`` that locate them without a home folder.

    ``hidden`` are the home folder and the repository; only the parts of them in ``folders`` are shown.
    """

    folders: tuple[Path, ...]
    variables: Mapping[str, str]
    hidden: tuple[Path, ...]


def find_toolchains(
    environ: Mapping[str, str],
    extra: Sequence[Path] = (),
    repository: Path | None = None,
    environments: Sequence[Path] = (),
) -> Toolchains:
    """Return the folders that the user's ``PATH`` and the variables of tools name, and the ``extra`` ones.

    ``environments`` are virtual ones that commands find elsewhere: the Python that each was created from is shown.

    Except for ``extra``, this shows no folder that is or contains the home folder, ``~/.local/share`` or the
    ``repository``, and no target of a link in the repository: its authors must not choose what commands can read.
    """
    home = Path(environ.get("HOME") or _find_home())
    variables = {"PATH": environ.get("PATH") or os.defpath}
    named = [Path(environ.get(name, "")) for name in _CERTIFICATES]
    found = [
        *_STORES,
        *_find_on_path(environ, home),
        *(file for file in named if file.is_absolute() and not _is_folder(file)),
    ]
    for tool in _TOOLS:
        value = environ.get(tool.variable, "") if tool.variable else ""
        folder = Path(value) if value else home / tool.default
        if not (value or tool.default) or not folder.is_absolute() or not _is_folder(folder):
            continue
        if tool.variable:
            variables[tool.variable] = str(folder)
        if _may_be_shown(folder, home, repository):
            parts = [folder / part for part in tool.parts] or _list_without_keys(folder)
            found += [*parts, *_find_base_python(folder)]
    found += [part for environment in environments for part in _find_base_python(environment)]
    shown = [folder for folder in found if _may_be_shown(folder, home, repository)]
    own = [_resolve(path) for path in (home, repository) if path is not None and _is_folder(path)]
    hidden = tuple(path for path in own if not any(folder in path.parents for folder in own))
    return Toolchains(_select_outermost([*shown, *extra], hidden), variables, hidden)


def _find_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run as a user id without an entry in /etc/passwd
        return "/"


def own_python() -> Path:
    """Return the installation of the Python that runs autoroute; ``forwarder.py`` needs it inside a sandbox."""
    return Path(sys.base_prefix)


def _find_on_path(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    for entry in environ.get("PATH", "").split(":"):
        folder = Path(entry)
        if not folder.is_absolute() or not _is_folder(folder):
            continue
        yield folder
        if folder.name in _BIN_FOLDERS and _is_installation(folder.parent, home):
            yield from (folder.parent / part for part in _INSTALLED)
            yield from _find_base_python(folder.parent)
            for part in _VERSION_FOLDERS:
                yield from _list_without_keys(folder.parent / part)


def _is_installation(folder: Path, home: Path) -> bool:
    """Return whether the folder around a ``bin`` is an installation, not a project or a general folder of the user."""
    is_project = _exists(folder / ".git") and not _exists(folder / "shims")  # pyenv and the like are git clones
    return not is_project and _resolve(folder) not in (_resolve(home), _resolve(home / ".local"), Path("/"))


def _may_be_shown(folder: Path, home: Path, repository: Path | None) -> bool:
    """Return whether a folder shows neither all of the user's folders nor what a link in the repository leads to."""
    real = _resolve(folder)
    own = [home / ".local/share", *(() if repository is None else (repository,))]
    if any(name.is_relative_to(shown) for path in own for name in (path, _resolve(path)) for shown in (folder, real)):
        return False
    if repository is None:
        return True
    root = _resolve(repository)
    inside = folder.is_relative_to(repository) or folder.is_relative_to(root)
    return not inside or real.is_relative_to(root)


def _find_base_python(environment: Path) -> Iterator[Path]:
    """Yield the parts of the Python that a virtual environment was created from."""
    for line in read_start(environment / "pyvenv.cfg").splitlines():
        name, _, value = line.partition("=")
        folder = Path(value.strip())
        # The file may be part of the repository, so it can only name a folder with a Python, and show only its parts.
        if name.strip() == "home" and folder.is_absolute() and os.access(folder / "python3", os.X_OK):
            yield from (folder.parent / part for part in (folder.name, *_INSTALLED))


def _list_without_keys(folder: Path) -> Sequence[Path]:
    """Return the folder of a version manager; if installations in it have key files, everything beside those."""
    keys, level = set[Path](), [folder]
    try:
        for _ in range(_MAX_DEPTH + 1):
            keys |= {path / name for path in level for name in _KEY_FILES if _exists(path / name)}
            level = [inner for path in level for inner in _list_installations(path, folder)]
        return [*_exclude(folder, keys)]
    except OSError:
        return []


def _list_installations(path: Path, tool: Path) -> Iterator[Path]:
    """Yield the folders in ``path`` that may be installations; an installation itself can only contain ``envs``."""
    if path != tool and (path / "bin").is_dir():
        yield from (environments for environments in [path / "envs"] if environments.is_dir())
        return
    with os.scandir(path) as entries:
        yield from (path / entry.name for entry in entries if entry.is_dir() and entry.name != ".git")


def _exclude(folder: Path, keys: Set[Path]) -> Iterator[Path]:
    """Yield the folder, or, if ``keys`` are in it, everything else in it."""
    if not any(key.is_relative_to(folder) for key in keys):
        yield folder
    elif folder not in keys:
        for inner in folder.iterdir():
            yield from _exclude(inner, keys)


def _select_outermost(folders: Sequence[Path], hidden: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folders that exist and are not shown already, each once, under their names and their real paths."""
    shown: list[Path] = []
    candidates = {folder for named in folders if _exists(named) for folder in (named, _resolve(named))}
    for folder in sorted(candidates, key=lambda folder: (len(folder.parts), folder)):
        shown_by_system = any(folder.is_relative_to(known) for known in _SYSTEM) and not any(
            _resolve(folder).is_relative_to(path) for path in hidden
        )
        if not shown_by_system and not any(folder.is_relative_to(known) for known in shown):
            shown.append(folder)
    return tuple(shown)


def _exists(path: Path) -> bool:
    """Return whether a path exists; one that we may not access counts as missing, because commands may not either."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    return _exists(path) and path.is_dir()


def _resolve(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder
