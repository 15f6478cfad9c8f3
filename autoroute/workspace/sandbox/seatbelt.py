"""The macOS backend ``seatbelt``: ``sandbox-exec`` with a profile that denies everything it does not allow.

Written after Apple's own profiles in ``/System/Library/Sandbox/Profiles``; not tested on a Mac yet.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoroute.workspace.sandbox.confinement import Confinement, Launch, Unavailable, confine_environment

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
    """The backend that runs ``/usr/bin/sandbox-exec``."""

    name: str = "seatbelt"
    is_weaker: bool = False
    bypasses_permissions: bool = True
    mounts: bool = False

    def check_available(self) -> Unavailable | None:
        """Return why ``sandbox-exec`` cannot work here, None if it may."""
        if sys.platform != "darwin":
            return Unavailable("system", "it requires macOS")
        return None if os.access(_PROGRAM, os.X_OK) else Unavailable("machine", f"{_PROGRAM} not found")

    def supports_allowlist(self) -> bool:
        """Return False: the profile allows the whole network or none."""
        return False

    def prepare_launch(
        self,
        command: str,
        confinement: Confinement,
        environment: Mapping[str, str],
        cwd: Path,  # noqa: ARG002 - the process is started there
    ) -> Launch:
        """Return how to start a command, with a scratch folder beside the tree for its home and temporary files."""
        root, limits = confinement.path_policy.root, confinement.limits
        scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=root.parent))
        # ``ulimit -f`` counts blocks of 512 bytes.
        ulimits = f"ulimit -c 0; ulimit -f {limits.file_size // 512}; ulimit -n {limits.open_files}; "
        shell = f'{ulimits}exec /bin/sh -c "$0"'
        arguments = [_PROGRAM, "-p", build_profile(confinement, scratch), "/bin/sh", "-c", shell, command]
        home = confinement.home.folder if confinement.home else scratch
        return Launch(arguments, confine_environment(environment, str(home), str(scratch)), scratch=scratch)


def build_profile(confinement: Confinement, scratch: Path) -> str:
    """Return the rules in the language of sandbox profiles."""
    # The last matching rule wins, so what is readable in a hidden folder comes after the folder.
    seen = (*confinement.readable, *((confinement.objects,) if confinement.objects else ()))
    readable = f"(allow file-read* {_subpaths(seen)})" if seen else ""
    hidden = f"(deny file-read* {_subpaths(confinement.hidden)})" if confinement.hidden else ""
    writable = [confinement.path_policy.root, scratch, *((confinement.home.folder,) if confinement.home else ())]
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
    # Rules match real paths: /tmp and /var are links on a Mac.
    return " ".join(f"(subpath {_quoted(os.path.realpath(folder))})" for folder in folders)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
