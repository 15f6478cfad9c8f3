"""Folders that are in no commit and that commands find in the tree or in their home, copy-on-write.

They are what the user's checkout has beside its files (``.venv``, ``node_modules``), what the set-up made, and the home
folder after it. Each has ``sources`` that are only read. What commands write lies apart and can be dropped, so the
user's folders never change, and the verification that decides sees the sources alone.

How depends on what the machine can do: an overlay over the sources, a mount that commands can only read, or a copy in
the tree. Hard links would not do: a write through one reaches the user's file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autoroute.atomic import replace_file
from autoroute.errors import WorkspaceError
from autoroute.workspace.beneath import is_free_of_links
from autoroute.workspace.bounded_files import list_names
from autoroute.workspace.mount_points import make_mount_point
from autoroute.workspace.removal import delete

LayerMode = Literal["overlay", "read-only", "copy"]

KEY_FILES = ("pip.conf", ".env", ".condarc", ".npmrc", "etc/npmrc", "conda-meta/state")
"""Files of the user at the root of an environment; they may contain tokens of package registries."""
HOME = "~"
"""The path of the layer that is the whole home folder; others in it begin with ``~/``, those in the tree do not."""
_MAX_MESSAGE_CHARACTERS = 300
_MAX_ENTRIES = 1_000_000
_MAX_RELOCATED_BYTES = 1024 * 1024
_UNSHARE = "/usr/bin/unshare"
_MOUNT_SCRIPT = """
while [ "$1" != -- ]; do
    cd "$1" && mount -n -t overlay overlay -o "$2" merged || exit 125
    shift 2
done
shift
exec "$@"
"""
"""Mounts the overlay of each slot, given as pairs of folder and options before ``--``. All names are relative, because
an option cannot contain the commas and colons that a path can."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A folder that commands find at ``path``, relative to the tree, or to the home folder after ``~/``.

    ``sources`` are from the topmost down. ``slot`` is the folder in which its overlay is mounted, None where commands
    can only read it.
    """

    path: str
    sources: tuple[Path, ...]
    slot: Path | None

    @property
    def seen(self) -> Path:
        """The folder to mount at the path, once the overlay is mounted."""
        return self.slot / "merged" if self.slot else self.sources[0]

    @property
    def written(self) -> Path | None:
        """The folder with what commands wrote."""
        return self.slot / "upper" if self.slot else None

    @property
    def options(self) -> str:
        """The options to mount the overlay with, in its slot."""
        lower = ":".join(f"lower{number}" for number in range(len(self.sources)))
        kind = "metacopy=on" if os.geteuid() == 0 else "userxattr"
        return f"lowerdir={lower},upperdir=upper,workdir=work,{kind}"


def mount_command(layers: Iterable[Layer], command: Sequence[str]) -> list[str]:
    """Return the command in a mount namespace of its own in which the overlays of the layers are mounted."""
    pairs = [part for layer in layers if layer.slot for part in (str(layer.slot), layer.options)]
    if not pairs:
        return list(command)
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return [
        *(_UNSHARE, *user, "--mount", "--propagation", "private", "--"),
        *("/bin/sh", "-c", _MOUNT_SCRIPT, "mount-layers", *pairs, "--", *command),
    ]


@dataclass(slots=True)
class Layers:
    """The layers of one run, kept in ``folder``; ``tree`` and ``home`` are the real folders.

    ``mounts`` says that commands run where something can be mounted. ``owner`` is the user that commands run as, if
    it is not ours. The constructor touches no file.
    """

    folder: Path
    tree: Path
    home: Path
    mounts: bool = True
    owner: int | None = None
    keeps_home: bool = False
    """Whether the home folder outlives the run: it is left as commands leave it."""
    max_copied_entries: int = 200
    """A folder with no more files and folders is copied: every mount makes every command start later."""
    _sources: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    _copies: set[str] = field(default_factory=set)
    """Layers that lie in the tree or home as copies, and files that the set-up made: nothing is mounted there."""
    _made: dict[str, Path] = field(default_factory=dict)
    _written: dict[str, Path] = field(default_factory=dict)
    _generation: int = 0
    is_frozen: bool = False
    """Whether the sources are those after the set-up."""
    _mode: LayerMode | None = None

    @property
    def mode(self) -> LayerMode:
        """How layers are shown here."""
        if self._mode is None:
            self._mode = "copy" if not self.mounts else "overlay" if self._can_overlay() else "read-only"
        return self._mode

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of each layer, see ``Layer``."""
        return tuple(self._sources)

    @property
    def sources(self) -> Mapping[str, tuple[Path, ...]]:
        """The sources of each layer, from the topmost down; no command has written what is in them since."""
        return self._sources

    @property
    def made(self) -> Mapping[str, Path]:
        """What the set-up of this sitting made, by its path: files and folders that are only read."""
        return self._made

    @property
    def written(self) -> Mapping[str, Path]:
        """What the set-up of this sitting wrote in folders that are not its own, by the path of each.

        It is the part that was written where an overlay is mounted, else all that is there now.
        """
        return self._written

    @property
    def mounted(self) -> tuple[Layer, ...]:
        """What is mounted for each command; copies are not."""
        slots = self.folder / f"written-{self._generation}"
        return tuple(
            Layer(path, sources, slots / str(number) if self.mode == "overlay" else None)
            for number, (path, sources) in enumerate(self._sources.items())
            if path not in self._copies
        )

    def open(self, carried: Mapping[str, Path]) -> None:
        """Prepare the layers of the run, as they were or, at first, those that are ``carried`` (path -> source)."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            state = json.loads((self.folder / "layers.json").read_text("utf-8"))
        except FileNotFoundError:
            self.add(carried)
            return
        self._generation, self._copies = state["generation"], set(state["copies"])
        self.is_frozen = state["frozen"]
        known = {path: tuple(map(Path, sources)) for path, sources in state["sources"].items()}
        # The user may have deleted an environment since: a command could not start without its source.
        self._sources = {path: sources for path, sources in known.items() if all(map(os.path.exists, sources))}
        self._make_slots()

    def add(self, sources: Mapping[str, Path]) -> None:
        """Add layers (path -> source).

        A source that is gone, a path that cannot be a mount point, and one with keys that nothing can cover are left
        out.
        """
        for path, source in sources.items():
            if path in self._sources or not source.is_dir() or not self._make_mount_point(path):
                continue
            keys = [name for name in KEY_FILES if (source / name).is_file()]
            if keys and self.mode == "read-only":
                continue
            self._sources[path] = (self._make_mask(source, keys), source) if keys else (source,)
            if self.mode == "copy" or self._is_small(source):
                self._copies.add(path)
                self._copy(path)
        self._make_slots()
        if self.mode == "overlay" and self.owner is not None:
            self._give_to_owner([path for path in sources if path in self._sources])
        self._record()

    def freeze(self, made: Sequence[str] = ()) -> None:
        """Make all that is there now the sources: what was written, the folders ``made`` in the tree, and the home.

        Called once the set-up is done. ``made`` are paths of ignored files and folders in the tree.
        """
        for layer in self.mounted:
            if layer.written is not None and any(layer.written.iterdir()):
                self._written[layer.path] = self._keep(layer.written)
                self._sources[layer.path] = (self._written[layer.path], *layer.sources)
        is_mounted = {layer.path for layer in self.mounted}
        home = [HOME] if not self.keeps_home and any(self.home.iterdir()) else []
        for path in dict.fromkeys((*self._copies, *made, *home)):
            real = self._real(path)
            if path in is_mounted or self._covers(path) or not self._is_own(path):
                continue
            is_changed = path in self._copies and not _is_copy(real, self._sources[path])
            if self._is_mountable(path, real):
                self._sources[path] = (self._keep(real),)
                self._make_mount_point(path)
            else:
                self._copies.add(path)
                self._sources[path] = (self._keep_copy(real),)
            if path in made or path == HOME:
                self._made[path] = self._sources[path][0]
            elif is_changed:
                self._written[path] = self._sources[path][0]
        self._end_setup()

    def adopt(self, made: Mapping[str, Path], written: Mapping[str, Path], moved_from: str = "") -> None:
        """Make what the set-up of another run ``made``, and has ``written`` over carried folders, that of this one.

        Files are shared by hard links, which is safe because no command can write to a source. What names the tree
        that it was ``moved_from`` is copied and corrected. Raises ``WorkspaceError``, and changes nothing, if part of
        it is gone.
        """
        kept = {path: self._kept() / source.name for path, source in {**made, **written}.items()}
        for path, source in {**made, **written}.items():
            if moved_from:
                _copy_onto(source, kept[path])
                relocate(kept[path], moved_from, str(self.tree))
            else:
                share(source, kept[path])
        for path in written:
            self._sources[path] = (kept[path], *self._sources.get(path, ()))
        for path in made:
            self._sources[path] = (kept[path],)
            if self._is_mountable(path, kept[path]):
                self._make_mount_point(path)
            else:
                self._copies.add(path)
                self._copy(path)
        self._end_setup()

    def _end_setup(self) -> None:
        self._make_home()
        self._generation += 1
        self.is_frozen = True
        self._make_slots()
        self._record()

    def _is_mountable(self, path: str, folder: Path) -> bool:
        """Return whether what the set-up made at a path is worth a mount, and not a copy."""
        return self.mode == "overlay" and folder.is_dir() and (path == HOME or not self._is_small(folder))

    def renew(self) -> None:
        """Drop all that commands wrote since the sources were made, and what is in a home folder of the run."""
        old = self._generation
        if not self.keeps_home:
            delete(self.home)
            self._make_home()
        for path in self._sources:
            if path in self._copies:
                self._copy(path)
            else:
                self._make_mount_point(path)
        self._generation += 1
        self._make_slots()
        self._record()
        delete(self.folder / f"written-{old}")

    def _is_small(self, folder: Path) -> bool:
        entries = 0
        for _, folders, files in os.walk(folder):
            entries += len(folders) + len(files)
            if entries > self.max_copied_entries:
                return False
        return True

    def _covers(self, path: str) -> bool:
        """Return whether a layer is inside the path: it could not be moved."""
        return any(known.startswith(f"{path}/") for known in self._sources)

    def _real(self, path: str) -> Path:
        """Return where a path of a layer lies outside the sandbox."""
        if path == HOME:
            return self.home
        return self.home / path[2:] if path.startswith(f"{HOME}/") else self.tree / path

    def _is_own(self, path: str) -> bool:
        """Return whether something is at a path that no link leads to: a folder of the user would be moved away."""
        base, real = self.home if path.startswith(HOME) else self.tree, self._real(path)
        return real.exists() and is_free_of_links(base, str(real.relative_to(base)))

    def _make_mount_point(self, path: str) -> bool:
        if path in (HOME, "."):
            return True
        if path.startswith(f"{HOME}/"):
            return make_mount_point(self.home, path[2:], replace=True)
        return make_mount_point(self.tree, path)

    def _make_slots(self) -> None:
        for layer in self.mounted:
            if layer.slot is not None and not (layer.slot / "merged").is_dir():
                for name in ("upper", "work", "merged"):
                    (layer.slot / name).mkdir(parents=True, exist_ok=True)
                for number, source in enumerate(layer.sources):
                    link = layer.slot / f"lower{number}"
                    link.unlink(missing_ok=True)
                    link.symlink_to(source)
                self._match_root(layer)

    def _match_root(self, layer: Layer) -> None:
        """Give the overlay's root folder the mode and owner of its topmost source."""
        status = layer.sources[0].stat()
        assert layer.written is not None
        layer.written.chmod(status.st_mode & 0o7777)
        if self.owner is not None:
            os.chown(layer.written, self.owner, self.owner)

    def _give_to_owner(self, paths: Sequence[str]) -> None:
        """Make a source on top in which all belongs to the user that commands run as, without copying a file."""
        layers = [layer for layer in self.mounted if layer.path in paths and layer.slot is not None]
        chown = f'for slot; do chown -hR {self.owner}:{self.owner} "$slot"; done'
        merged = [str(layer.seen) for layer in layers]
        if layers and not (reason := _run(mount_command(layers, ["/bin/sh", "-c", chown, "chown", *merged]))):
            for layer in layers:
                assert layer.written is not None
                self._sources[layer.path] = (self._keep(layer.written), *layer.sources)
            self._generation += 1
            self._make_slots()
        elif layers:
            raise WorkspaceError(f"cannot give carried folders to the user that commands run as: {reason}")

    def _make_mask(self, source: Path, keys: Sequence[str]) -> Path:
        """Create a source to lie on top of another, with an empty file for each that may hold keys; return it."""
        mask = self._kept() / "mask"
        for name in keys:
            (mask / name).parent.mkdir(parents=True, exist_ok=True)
            (mask / name).touch()
        shutil.copystat(source, mask)
        return mask

    def _make_home(self) -> None:
        # bwrap enters it as root without capabilities if the tree is inside; the folder around it is private.
        self.home.mkdir(mode=0o755, exist_ok=True)
        if self.owner is not None:
            os.chown(self.home, self.owner, self.owner)

    def _keep(self, folder: Path) -> Path:
        """Move a folder to where it is only read; return the new path."""
        kept = self._kept() / folder.name
        folder.rename(kept)
        return kept

    def _keep_copy(self, real: Path) -> Path:
        """Copy a file or folder to where it is only read; return the new path."""
        kept = self._kept() / real.name
        _copy_onto(real, kept)
        return kept

    def _kept(self) -> Path:
        number = 0
        with suppress(FileNotFoundError):
            number = len(os.listdir(self.folder / "kept"))  # noqa: PTH208 - names alone
        kept = self.folder / "kept" / str(number)
        kept.mkdir(parents=True)
        return kept

    def _copy(self, path: str) -> None:
        """Replace what is at a path by a copy of its sources."""
        real, sources = self._real(path), self._sources[path]
        if path != HOME and not self._make_mount_point(str(Path(path).parent)):
            return
        delete(real)
        for source in reversed(sources):
            _copy_onto(source, real)
        if self.mode == "copy" and not path.startswith(HOME):
            # The scripts of a virtual environment would run the user's, and an install there would change it.
            relocate(real, str(sources[-1]).removesuffix(f"/{path}"), str(self.tree))
        if self.owner is not None and (reason := _run(["chown", "-hR", f"{self.owner}:{self.owner}", str(real)])):
            raise WorkspaceError(f"cannot give {real} to the user that commands run as: {reason}")

    def _record(self) -> None:
        sources = {path: [str(source) for source in sources] for path, sources in self._sources.items()}
        state = {
            "generation": self._generation,
            "frozen": self.is_frozen,
            "copies": sorted(self._copies),
            "sources": sources,
        }
        replace_file(self.folder / "layers.json", json.dumps(state).encode())

    def _can_overlay(self) -> bool:
        """Return whether an overlay can be mounted on this machine with its upper folder beside the workspace."""
        if not os.access(_UNSHARE, os.X_OK) or not shutil.which("mount", path="/usr/bin:/bin"):
            return False
        slot = self.folder / "trial"
        for name in ("lower0", "upper", "work", "merged"):
            (slot / name).mkdir(parents=True, exist_ok=True)
        works = not _run(mount_command([Layer("trial", (slot / "lower0",), slot)], ["/bin/true"]))
        delete(slot)
        return works


def _copy_onto(source: Path, target: Path) -> None:
    """Copy a file or folder with modes, times and links, onto ``target`` if it exists; share blocks where possible."""
    contents = source.is_dir()
    if contents:
        target.mkdir(parents=True, exist_ok=True)
    reflink = () if os.uname().sysname == "Darwin" else ("--reflink=auto",)
    if reason := _run(["cp", "-a", *reflink, "--", f"{source}/." if contents else str(source), str(target)]):
        raise WorkspaceError(f"cannot copy {source} into the workspace: {reason}", hint="free some space there")


def _is_copy(folder: Path, sources: Sequence[Path]) -> bool:
    """Return whether a copy is as it was made from the sources, by the names and times of all in it."""
    for parent, folders, files in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        if {*folders, *files} != {name for source in sources for name in list_names(source / inside, _MAX_ENTRIES)}:
            return False
        for name in files:
            originals = (source / inside / name for source in sources)
            original = next(path for path in originals if os.path.lexists(path)).lstat()
            if os.lstat(os.path.join(parent, name)).st_mtime_ns != original.st_mtime_ns:  # noqa: PTH118 - many
                return False
    return True


def share(source: Path, target: Path) -> None:
    """Give ``target`` all that ``source`` has: hard links to its files, or copies where that is impossible.

    Neither may be written to afterwards. Raises ``WorkspaceError``.
    """
    how = "-ac" if os.uname().sysname == "Darwin" else "-al"
    if _run(["cp", how, "--", str(source), str(target)]):
        delete(target)
        if reason := _run(["cp", "-a", "--", str(source), str(target)]):
            delete(target)
            raise WorkspaceError(f"cannot copy {source}: {reason}", hint="free some space there")


def relocate(environment: Path, old: str, new: str) -> None:
    """Replace the path ``old`` in what names absolute paths in a copied virtual environment of Python.

    The files keep their times.
    """
    if old == new or not (environment / "pyvenv.cfg").is_file():
        return
    packages = "lib/python3*/site-packages"
    for pattern in ("bin/*", f"{packages}/*.pth", f"{packages}/__editable__*.py", f"{packages}/*.egg-link"):
        for file in environment.glob(pattern):
            if file.is_symlink() or not file.is_file() or file.stat().st_size > _MAX_RELOCATED_BYTES:
                continue
            data, status = file.read_bytes(), file.stat()
            if (named := data.replace(os.fsencode(f"{old}/"), os.fsencode(f"{new}/"))) != data:
                file.write_bytes(named)
                os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _run(command: Sequence[str]) -> str:
    """Run a program of the system; return its error message, "" if it succeeded."""
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}, capture_output=True, check=False
    )
    message = done.stderr.decode("utf-8", "replace").strip()[-_MAX_MESSAGE_CHARACTERS:]
    return "" if done.returncode == 0 else message or f"exit code {done.returncode}"
