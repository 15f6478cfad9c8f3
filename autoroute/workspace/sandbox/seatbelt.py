"""macOS: the system's ``sandbox-exec`` with a profile that denies what it does not name.

Written after the vendor's own profiles under ``/System/Library/Sandbox/Profiles``; it has not been tried on a Mac yet.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.sandbox.confinement import Confinement, Launch, Unavailable, inside

_PROGRAM = "/usr/bin/sandbox-exec"
_SYSTEM = ("/usr", "/bin", "/sbin", "/System", "/Library", "/private/etc", "/private/var/db", "/opt/homebrew", "/dev")
_SERVICES = (
    *("com.apple.system.opendirectoryd.libinfo", "com.apple.system.opendirectoryd.membership"),
    *("com.apple.system.notification_center", "com.apple.system.logger", "com.apple.trustd.agent"),
)
_PROFILE = """\
(version 1)
(deny default)
(allow process-exec process-fork)
(allow signal process-info* (target same-sandbox))
(allow sysctl-read ipc-posix-sem file-read-metadata)
(allow file-read* (literal "/") {system})
{hidden}
{readable}
(allow file-read* file-write* {writable})
(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))
(allow mach-lookup {services})
{network}
"""


@dataclass(frozen=True, slots=True)
class Seatbelt:
    """``/usr/bin/sandbox-exec``."""

    name: str = "seatbelt"
    is_weaker: bool = False
    bypasses_permissions: bool = True

    def missing(self) -> Unavailable | None:
        """Why it cannot be here, None when it may work."""
        if sys.platform != "darwin":
            return Unavailable("system", "it is for macOS")
        return None if os.access(_PROGRAM, os.X_OK) else Unavailable("machine", f"there is no {_PROGRAM}")

    def supports_allowlist(self) -> bool:
        """Addresses are all of them or none."""
        return False

    def launch(self, command: str, confinement: Confinement, environment: Mapping[str, str], cwd: Path) -> Launch:  # noqa: ARG002 - it starts there
        """How a command is started, with a scratch folder beside the tree for its home and temporary files."""
        root, allowed = confinement.path_policy.root, confinement.limits
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=root.parent))
        limits = f"ulimit -c 0; ulimit -f {allowed.file_size // 512}; ulimit -n {allowed.open_files}; "
        shell = f'{limits}exec /bin/sh -c "$0"'
        arguments = [_PROGRAM, "-p", profile(confinement, scratch), "/bin/sh", "-c", shell, command]
        return Launch(arguments, inside(environment, str(scratch), str(scratch)), scratch=scratch)


def profile(confinement: Confinement, scratch: Path) -> str:
    """The rules, in the profile language."""
    # Of the rules that fit the last one holds.
    readable = f"(allow file-read* {_subpaths(confinement.readable)})" if confinement.readable else ""
    hidden = f"(deny file-read* {_subpaths(confinement.hidden)})" if confinement.hidden else ""
    writable = [confinement.path_policy.root, scratch]
    network = "(allow network* system-socket)" if confinement.network == "on" else "(deny network*)"
    return _PROFILE.format(
        system=_subpaths(map(Path, _SYSTEM)),
        hidden=hidden,
        readable=readable,
        writable=_subpaths(writable),
        services=" ".join(f"(global-name {_quoted(name)})" for name in _SERVICES),
        network=network,
    )


def _subpaths(folders: Iterable[Path]) -> str:
    # Rules are about real paths: /tmp and /var are links on a Mac.
    return " ".join(f"(subpath {_quoted(os.path.realpath(folder))})" for folder in folders)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
