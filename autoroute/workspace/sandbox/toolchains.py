"""Which folders beyond the system's a command needs to see: languages and tools that the user has installed.

A sandbox hides the home folder, where keys and logins are, and where pyenv, nvm, cargo and their like are too. What is
shown of it stands here, row by row; nothing else is.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"))


_BINARIES = frozenset({"bin", "sbin", "shims", "Scripts"})
_INSTALLED = ("bin", "sbin", "lib", "lib64", "libexec", "include", "share", "pyvenv.cfg")
"""What an installation has beside its ``bin``; anything else there may be the user's, a file with a key among it."""
_CHOSEN = ("shims", "versions", "installs")
"""What is there of a tool that chooses between versions: installations, each whole but for its ``_KEYS``."""
_KEYS = ("pip.conf", ".env", ".condarc", ".npmrc", "etc/npmrc", "conda-meta/state")
"""Where installations of a Python or a Node keep what the user has set for them, tokens of registries among it."""
_DEEPEST = 4
"""Folders from a tool's own down to its installations: ``versions/3.12/envs/work``, ``tools/image/node/24``."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A tool's folder: the variable that names it, where it is below the home folder without that, what of it is shown.

    ``parts`` are the parts that hold no keys; none is all of it but for ``_KEYS``.
    """

    variable: str
    place: str = ""
    parts: tuple[str, ...] = ()


_ROWS = (
    _Row("VIRTUAL_ENV", parts=_INSTALLED),
    # An environment is known for one by its history; what its activation sets, keys too, is in the state beside it.
    _Row("CONDA_PREFIX", parts=(*_INSTALLED, "condabin", "ssl", "conda-meta/history")),
    _Row("JAVA_HOME", parts=(*_INSTALLED, "conf", "jre", "jmods", "legal", "release")),
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
    _Row("DOTNET_ROOT", ".dotnet", ("dotnet", "host", "sdk", "sdk-manifests", "shared", "packs", "templates", "tools")),
    _Row("BUN_INSTALL", ".bun", ("bin", "install")),
    _Row("DENO_INSTALL", ".deno", ("bin",)),
    _Row("PNPM_HOME", ".local/share/pnpm"),
    _Row("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"),
    _Row("UV_TOOL_DIR", ".local/share/uv/tools"),
    _Row("PIPX_HOME", ".local/share/pipx"),
    _Row("", ".local/pipx"),
    _Row("", ".local/bin"),
    _Row("", ".nix-profile", (*_INSTALLED, "etc/ssl")),
)
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""What names the one file that programs read certificates of others from."""
_STORES = (Path("/nix/store"), Path("/gnu/store"))
"""Where some distributions keep all programs, under names that lead from one to the other."""


@dataclass(frozen=True, slots=True)
class Toolchains:
    """``folders`` to show, none within another; ``variables`` lead to them, wherever the home folder is.

    ``hidden`` are the home folder and the repository: what of them is shown is among ``folders``.
    """

    folders: tuple[Path, ...]
    variables: Mapping[str, str]
    hidden: tuple[Path, ...]


def find_toolchains(
    environ: Mapping[str, str], extra: Sequence[Path] = (), repository: Path | None = None
) -> Toolchains:
    """What the user's ``PATH`` and the tools' own variables lead to, and ``extra`` folders.

    But for ``extra``, nothing is shown that is or holds the home folder, what programs keep there, or the
    ``repository``, and nothing that a link in the repository leads to: who writes into it must not choose what commands
    see.
    """
    home = Path(environ.get("HOME") or _home_by_number())
    variables = {"PATH": environ.get("PATH") or os.defpath}
    named = [Path(environ.get(name, "")) for name in _CERTIFICATES]
    found = [
        *_STORES,
        *_on_path(environ, home),
        *(file for file in named if file.is_absolute() and not _is_folder(file)),
    ]
    for row in _ROWS:
        value = environ.get(row.variable, "") if row.variable else ""
        folder = Path(value) if value else home / row.place
        if not (value or row.place) or not folder.is_absolute() or not _is_folder(folder):
            continue
        if row.variable:
            variables[row.variable] = str(folder)
        if _may_be_shown(folder, home, repository):
            found += [*([folder / part for part in row.parts] or _without_keys(folder)), *_base_of(folder)]
    kept = [folder for folder in found if _may_be_shown(folder, home, repository)]
    own = [_real(place) for place in (home, repository) if place is not None and _is_folder(place)]
    hidden = tuple(place for place in own if not any(folder in place.parents for folder in own))
    return Toolchains(_outermost([*kept, *extra], hidden), variables, hidden)


def _home_by_number() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container runs as a number that nobody has named
        return "/"


def own_python() -> Path:
    """The installation of the interpreter that runs us, for what of ours works inside a sandbox."""
    return Path(sys.base_prefix)


def _on_path(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    for entry in environ.get("PATH", "").split(":"):
        folder = Path(entry)
        if not folder.is_absolute() or not _is_folder(folder):
            continue
        yield folder
        if folder.name in _BINARIES and _is_installation(folder.parent, home):
            yield from (folder.parent / part for part in _INSTALLED)
            for part in _CHOSEN:
                yield from _without_keys(folder.parent / part)


def _is_installation(folder: Path, home: Path) -> bool:
    """Whether what is beside a ``bin`` belongs to it, and is no project and no folder of the user's for everything."""
    is_project = _is_there(folder / ".git") and not _is_there(folder / "shims")  # pyenv and its like are clones
    return not is_project and _real(folder) not in (_real(home), _real(home / ".local"), Path("/"))


def _may_be_shown(folder: Path, home: Path, repository: Path | None) -> bool:
    real = _real(folder)
    own = [home / ".local/share", *(() if repository is None else (repository,))]
    if any(named.is_relative_to(shown) for place in own for named in (place, _real(place)) for shown in (folder, real)):
        return False
    inside = repository is not None and (folder.is_relative_to(repository) or folder.is_relative_to(_real(repository)))
    return not inside or (repository is not None and real.is_relative_to(_real(repository)))


def _base_of(environment: Path) -> Iterator[Path]:
    """The Python that a virtual environment was made from."""
    try:
        lines = (environment / "pyvenv.cfg").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition("=")
        folder = Path(value.strip())
        # The file may come with the repository: what it names counts where there is a Python, and no more of it.
        if name.strip() == "home" and folder.is_absolute() and os.access(folder / "python3", os.X_OK):
            yield from (folder.parent / part for part in (folder.name, *_INSTALLED))


def _without_keys(folder: Path) -> Sequence[Path]:
    """A tool's folder; where installations in it hold keys, all that is beside those."""
    keys, level = set[Path](), [folder]
    try:
        for _ in range(_DEEPEST + 1):
            keys |= {place / name for place in level for name in _KEYS if _is_there(place / name)}
            level = [inner for place in level for inner in _within(place, folder)]
        return [*_beside(folder, keys)]
    except OSError:
        return []


def _within(place: Path, tool: Path) -> Iterator[Path]:
    """The folders of a tool's that may be installations; in one of those only environments are."""
    if place != tool and (place / "bin").is_dir():
        yield from (environments for environments in [place / "envs"] if environments.is_dir())
        return
    with os.scandir(place) as entries:
        yield from (place / entry.name for entry in entries if entry.is_dir() and entry.name != ".git")


def _beside(folder: Path, keys: Set[Path]) -> Iterator[Path]:
    if not any(key.is_relative_to(folder) for key in keys):
        yield folder
    elif folder not in keys:
        for inner in folder.iterdir():
            yield from _beside(inner, keys)


def _outermost(folders: Sequence[Path], hidden: Sequence[Path]) -> tuple[Path, ...]:
    """Those that exist and are not shown already, each once, as they are named and as they really are."""
    shown: list[Path] = []
    every = {folder for named in folders if _is_there(named) for folder in (named, _real(named))}
    for folder in sorted(every, key=lambda folder: (len(folder.parts), folder)):
        of_the_system = any(folder.is_relative_to(known) for known in _SYSTEM) and not any(
            _real(folder).is_relative_to(place) for place in hidden
        )
        if not of_the_system and not any(folder.is_relative_to(known) for known in shown):
            shown.append(folder)
    return tuple(shown)


def _is_there(place: Path) -> bool:
    """What we may not look at is as good as not there: commands may not either."""
    try:
        return place.exists()
    except OSError:
        return False


def _is_folder(place: Path) -> bool:
    return _is_there(place) and place.is_dir()


def _real(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder
