"""A user's world under attack: a home with secrets, repositories, a run's private clone, a neighbor, and a terminal.

Everything is in folders that were made for it; the real home and machine do not appear.
"""

from __future__ import annotations

import base64
import ctypes
import os
import platform
import secrets
import shutil
import signal
import stat
import subprocess
import termios
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.repository import Repository

from .listeners import Listeners, terminal
from .watch import Watch

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
KEY = "ESCAPES_API_KEY"
"""The variable of the session itself that holds a key, as a user's shell exports them."""
_CARRIED = ("node_modules", ".venv,odd:name")
"""Folders of the user that commands find in the tree; the name of one would end an option of a mount."""
_NUMBERS = {
    "x86_64": {
        "CLONE": 56,
        "ADD_KEY": 248,
        "REQUEST_KEY": 249,
        "KEYCTL": 250,
        "BPF": 321,
        "PERF_EVENT_OPEN": 298,
        "USERFAULTFD": 323,
        "INIT_MODULE": 175,
        "REBOOT": 169,
    },
    "aarch64": {
        "CLONE": 220,
        "ADD_KEY": 217,
        "REQUEST_KEY": 218,
        "KEYCTL": 219,
        "BPF": 280,
        "PERF_EVENT_OPEN": 241,
        "USERFAULTFD": 282,
        "INIT_MODULE": 105,
        "REBOOT": 142,
    },
}
OTHER_USER = 60_990
"""Who commands of root run as, where a layer makes them somebody else."""
_JOIN_SESSION_KEYRING, _SESSION_KEYRING = 1, -3
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Grounds:
    """The folders of one world: its home and run, and its part of ``/tmp`` and of ``/dev/shm``."""

    base: Path
    shared: Path
    memory: Path


class World:
    """The world, from its creation to ``close``. ``names`` are the values of ``@NAME@`` in attempts.

    ``key`` is the value of ``KEY`` in the environment that this process was started with.
    """

    clone: PrivateClone
    outside: Watch
    history: Watch
    inside: Watch

    def __init__(self, grounds: Grounds, mark: str, key: str) -> None:
        self.mark = mark
        self.home, self.private, self.shared = grounds.base / "home", grounds.base / "state/private", grounds.shared
        self.project, self.other = self.home / "project", self.home / "other"
        self._canaries = [key]
        self._memory, self._sockets = grounds.memory, grounds.base / "sockets"
        self.environ = {"PATH": PATH, "HOME": str(self.home), "LANG": "C.UTF-8", "USER": "somebody"}
        self.environ |= {"VIRTUAL_ENV": f"{self.home}/venv", "CONDA_PREFIX": f"{self.home}/conda"}
        self.environ |= {"XDG_STATE_HOME": str(grounds.base / "state"), "XDG_CACHE_HOME": str(grounds.base / "cache")}
        self._lay_out()
        self.repository = Repository.discover(self.project, self.environ)
        self._folder = grounds.base / "state/run"
        self.logs = grounds.base / "logs"
        self.logs.mkdir()
        self._grounds = grounds
        self._freshened = str(self.project / ".git/objects/")
        self._held = os.open(self.private / "credentials", os.O_RDONLY)
        self._in_memory = ctypes.create_string_buffer(self._canary("memory").encode())
        self._add_key()
        os.chdir(self.home)
        self.listeners = Listeners(self._sockets, self.shared, mark, self._canary("agent"))
        self._neighbor = self._canary("neighbor")
        self.names = {
            "HOME": str(self.home),
            "PROJECT": str(self.project),
            "OTHER": str(self.other),
            "WORLD": mark,
            "PRIVATE": str(self.private),
            "SHARED": str(self.shared),
            "SHM": str(self._memory),
            "SOCKETS": str(self._sockets),
            "PID": str(os.getpid()),
            "SECRET_FD": str(self._held),
            "UP": "/".join([".."] * (len((self._folder / "tree").resolve().parts) - 1)),
            "ADDRESS": str(ctypes.addressof(self._in_memory)),
            **{f"NR_{name}": str(number) for name, number in _NUMBERS.get(platform.machine(), {}).items()},
            **self.listeners.names,
        }
        for name in ("HOME", "PROJECT", "OTHER", "PRIVATE", "SHARED", "SHM"):
            self.names[f"{name}_PATTERN"] = self.names[name][:-1] + "?"
        self._victim: subprocess.Popen[bytes] | None = None
        self._terminal: tuple[int, int, str] | None = None
        self._objects = _objects()

    def make_clone(self, owner: int | None, place: Path | None = None, *, carries: bool = False) -> PrivateClone:
        """Create the clone that commands of ``owner`` work in; changes outside it are noticed from now on.

        If it ``carries``, commands find folders of the user in it, as overlays where the machine can mount them.
        """
        carried = {name: self.project / name for name in _CARRIED} if carries else {}
        self.clone = PrivateClone(
            self.repository,
            self._folder,
            "escapes",
            base=self.repository.head,
            owner=owner,
            place=place,
            carried=carried,
        )
        self.clone.layers.max_copied_entries = 0
        self.clone.open()
        base = self._grounds.base
        self.outside = Watch((base, self.shared, self._memory), without=(self._folder, self._sockets, self.logs))
        theirs = (self.clone.root, self.clone.home)
        without = (*theirs, self.clone.layers.folder)
        self.history = Watch((self._folder,), without=without, loose=(self._folder,))
        self.inside = Watch(theirs)
        self.renew()
        return self.clone

    def renew(self) -> None:
        """Ensure that the neighbor process runs and the terminal is open."""
        if self._victim is None or self._hurt():
            self._end_victim()
            command = ["/bin/sleep", f"900.{self.mark}"]
            variables = {"NEIGHBOUR_KEY": self._neighbor}
            self._victim = subprocess.Popen(command, env=variables, start_new_session=True)
        if self._terminal is None:
            self._terminal = terminal()
            mode = termios.tcgetattr(self._terminal[1])
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            mode[6][termios.VMIN] = 0
            termios.tcsetattr(self._terminal[1], termios.TCSANOW, mode)
        self.names |= {"VICTIM": str(self._victim.pid), "TERMINAL": self._terminal[2]}
        self.names["HANDLE"] = _handle(self.home / ".ssh/id_ed25519")  # a new one once the file has been restored

    def evidence(self, output: str, nonce: str, *, by_harness: bool) -> list[str]:
        """Return the evidence that an attempt succeeded, and restore the world."""
        found = []
        changed = self.outside.changed()
        # Our own git refreshes the times of the user's objects, as git does with objects that are still needed.
        if touched := [path for path in changed if not (by_harness and path.startswith(self._freshened))]:
            found.append(f"changed {touched[0]}")
        self.outside.restore(changed)
        if (history := self.history.changed()) and not by_harness:
            found.append(f"changed {history[0]}")
        self.history.restore(history)
        made = self.inside.changed()
        written = [
            str(path) for layer in self.clone.layers.mounted if layer.written for path in layer.written.rglob("*")
        ]
        if self._leaks(output) or self._leaks(*map(_readable, (*made, *written))):
            found.append("a secret")
        if f"WON-{nonce}" in output:
            found.append("its own word")
        found += [f"{_kind(path)} left" for path in made if _kind(path)]
        self.inside.restore(made)
        if written:
            self.clone.layers.renew()
            self.inside = Watch((self.clone.root, self.clone.home))
        found += [f"{name} heard" for name in dict.fromkeys(self.listeners.take())]
        found += [f"process {pid} stayed" for pid in self._survivors(f"30.{nonce}")]
        found += [f"{what} left" for what in sorted(self._leftovers(nonce))]
        if hurt := self._hurt():
            found.append(f"a neighbor was {hurt}")
        if self._typed():
            found.append("typed on a terminal")
        self.renew()
        return found

    def close(self) -> None:
        """End the processes of the world; its creator deletes the folders."""
        self._end_victim()
        self.listeners.close()
        if self._terminal:
            os.close(self._terminal[0])
            os.close(self._terminal[1])
        os.close(self._held)
        os.chdir("/")

    def _canary(self, name: str) -> str:
        made = f"CANARY-{name}-{secrets.token_hex(8)}"
        self._canaries.append(made)
        return made

    def _lay_out(self) -> None:
        places = {
            self.home / ".ssh/id_ed25519": "ssh",
            self.home / ".aws/credentials": "aws",
            self.home / ".netrc": "netrc",
            self.home / ".config/autoroute/credentials.toml": "autoroute",
            self.home / "venv/pip.conf": "pip",
            self.home / "conda/conda-meta/state": "conda",
            self.home / ".dotnet/corefx/cryptography/x509stores/my/a.pfx": "dotnet",
            self.home / ".nvm/versions/node/v24/etc/npmrc": "npm",
            self.private / "credentials": "run",
            self.other / "plans.txt": "plans",
            self.shared / "secret.txt": "shared",
            self._memory / "secret.txt": "shm",
            self.project / ".env": "env",
        }
        words = {
            self.home / ".bashrc": "alias ll='ls -l'\n",
            self.home / ".gitconfig": "[user]\n\tname = A Developer\n\temail = dev@example.com\n[gc]\n\tauto = 0\n",
            self.private / "events.jsonl": "{}\n",
            self.other / "notes.txt": "some notes\n",
            self.shared / "notes.txt": "some notes\n",
            self._memory / "notes.txt": "some notes\n",
            self.project / "main.py": "print('hello')\n",
            self.project / "README": "A project.\n",
            self.project / "src/deep.py": "DEEP = 1\n",
            self.project / ".gitignore": ".env\npackages/\nnode_modules/\n.venv,odd:name/\n",
            self.project / "node_modules/tiny/index.js": "exports.tiny = 1;\n",
            self.project / ".venv,odd:name/pyvenv.cfg": "version = 3.11\n",
            self.home / "tools/deep/kit/tool.txt": "a tool\n",
            self.project / "packages/deep/kit/tool.txt": "a tool\n",
        }
        self._sockets.mkdir(parents=True)
        for place, text in (*((place, self._canary(name)) for place, name in places.items()), *words.items()):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for folder in (self.private, self.shared):
            named = folder / self._canary("name")
            named.write_text("")
        git = ("git", "-c", "init.defaultBranch=main", "-C", str(self.project))
        for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-mBegin"), ("branch", "kept")):
            subprocess.run([*git, *command], env=self.environ, check=True)
        (self.project / "main.py").write_text("print('hello again')\n")
        subprocess.run([*git, "commit", "--quiet", "-amGo on"], env=self.environ, check=True)
        (self.project / "README").write_text("A project, being edited.\n")
        (self.project / "draft.txt").write_text("not added yet\n")
        (self.project / ".git/hooks").mkdir(exist_ok=True)

    def _add_key(self) -> None:
        numbers = _NUMBERS.get(platform.machine())
        if numbers:
            secret, name = self._canary("keyring").encode(), f"escapes-{self.mark}".encode()
            _LIBC.syscall(numbers["KEYCTL"], _JOIN_SESSION_KEYRING, None)
            _LIBC.syscall(numbers["ADD_KEY"], b"user", name, secret, len(secret), _SESSION_KEYRING)

    def _leaks(self, *texts: str) -> bool:
        """Return whether data contains a secret, plain or as programs that read files encode it."""
        whole = "".join("".join(text.split()) for text in texts)
        if "canary" not in whole.casefold() and len(whole) < 16:
            return False
        return any(form in whole for canary in self._canaries for form in _forms(canary))

    def _survivors(self, cookie: str) -> list[int]:
        found = _carrying(cookie)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _leftovers(self, nonce: str) -> set[str]:
        """Return the System V and POSIX objects that were left behind, and remove them."""
        now = _objects()
        made = now - self._objects
        for kind, number in made:
            subprocess.run(["ipcrm", {"shm": "-m", "sem": "-s", "msg": "-q"}[kind], number], check=False)
        found = {f"{kind} object" for kind, _ in made}
        if hasattr(_LIBC, "mq_unlink") and _LIBC.mq_unlink(f"/owned-{nonce}".encode()) == 0:
            found.add("message queue")
        return found

    def _hurt(self) -> str:
        assert self._victim is not None
        if self._victim.poll() is not None:
            return "killed"
        facts = Path(f"/proc/{self._victim.pid}/stat").read_text().rpartition(")")[2].split()
        if facts[0] in "Tt":
            return "stopped"
        if facts[16] != "0":
            return "slowed"
        # Changes of its limits and its scheduling are reported by the attempt itself.
        return ""

    def _end_victim(self) -> None:
        if self._victim is not None:
            self._victim.kill()
            self._victim.wait()

    def _typed(self) -> bool:
        assert self._terminal is not None
        typed = False
        try:
            with suppress(BlockingIOError):
                typed = bool(os.read(self._terminal[0], 4096))
            typed = bool(os.read(self._terminal[1], 4096)) or typed
        except OSError:
            typed = True  # disconnected by the process that took it
        if typed:
            os.close(self._terminal[0])
            os.close(self._terminal[1])
            self._terminal = None
        return typed


def _carrying(cookie: str) -> list[int]:
    """Return the processes with this word in their arguments."""
    found = []
    for process in os.listdir("/proc"):  # noqa: PTH208 - hundreds of them, after each attempt
        if process.isdigit():
            with suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as words:  # noqa: PTH123
                if cookie.encode() in words.read().split(b"\0"):
                    found.append(int(process))
    return found


def _forms(canary: str) -> Iterable[str]:
    data = canary.encode()
    yield from (canary, canary[::-1], data.hex(), base64.b64encode(data[: len(data) // 3 * 3]).decode())


def _readable(path: str) -> str:
    """Return the name and bytes of an entry of the workspace; no bytes if it is not a small file."""
    try:
        facts = os.lstat(path)
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= 1 << 20:
            return f"{path}\n{Path(path).read_bytes().decode('latin-1')}"
    except OSError:
        pass
    return path


def _kind(path: str) -> str:
    """Return what commands must not leave behind: a setuid program, a device."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
        return "a setuid file"
    return "a device" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else ""


def _objects() -> set[tuple[str, str]]:
    """Return kind and number of the System V objects of this user and of the user that runs commands."""
    owners = {str(os.geteuid()), *({str(OTHER_USER)} if os.geteuid() == 0 else ())}
    found = set()
    for kind in ("shm", "sem", "msg"):
        with suppress(OSError):
            head, *rows = (line.split() for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines())
            found |= {(kind, row[1]) for row in rows if row[head.index("uid")] in owners}
    return found


def _handle(path: Path) -> str:
    """Return the file's handle (struct file_handle) as hex; a privileged process can open the file with it."""
    buffer, mount = ctypes.create_string_buffer(b"\x80\0\0\0", 136), ctypes.c_int()
    done = _LIBC.name_to_handle_at(-100, str(path).encode(), buffer, ctypes.byref(mount), 0)
    return buffer.raw[: 8 + buffer.raw[0]].hex() if done == 0 else "00"


def clear(grounds: Grounds) -> None:
    """Delete a world's folders, whoever owns their content."""
    for folder in (grounds.base, grounds.shared, grounds.memory):
        shutil.rmtree(folder, ignore_errors=True)
