"""Ways to name a file outside: shell text that runs first and sets ``$D`` (its folder) and ``$T`` (the file)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# @FOLDER@ and @NAME@ are the target's; @UP@ leads from the workspace to /.
TO_FOLDER: Mapping[str, str] = MappingProxyType(
    {
        "absolute": "D=@FOLDER@; T=$D/@NAME@",
        "dots": "D=@UP@@FOLDER@; T=$D/@NAME@",
        "linked-folder": "ln -s @FOLDER@ door; D=door; T=door/@NAME@",
        "proc-root": "D=/proc/self/root@FOLDER@; T=$D/@NAME@",
        "slashes": "D=//.//@FOLDER@/./; T=$D//@NAME@",
        "proc-cwd": "D=/proc/self/cwd/@UP@@FOLDER@; T=$D/@NAME@",
        "changed-folder": "cd @FOLDER@; D=.; T=./@NAME@",
        "two-links": "ln -s @UP@ up; ln -s up@FOLDER@ two; D=two; T=two/@NAME@",
        "old-folder": "mkdir -p in/side; cd in/side; D=../../@UP@@FOLDER@; T=$D/@NAME@",
        "pattern": "D=$(echo @FOLDER_PATTERN@); T=$D/@NAME@",
    }
)
TO_FILE: Mapping[str, str] = MappingProxyType(
    {
        "link": "ln -s @FOLDER@/@NAME@ mask; D=@FOLDER@; T=mask",
        "relative-link": "ln -s @UP@@FOLDER@/@NAME@ mask; D=@FOLDER@; T=mask",
        "hard-link": "ln @FOLDER@/@NAME@ twin; D=@FOLDER@; T=twin",
        "link-chain": "ln -s @FOLDER@ one; ln -s one/@NAME@ two; ln -s two three; D=one; T=three",
    }
)
TARGETS = (
    "HOME/.bashrc",
    "PROJECT/main.py",
    "PROJECT/node_modules/tiny/index.js",
    "OTHER/notes.txt",
    "PRIVATE/events.jsonl",
    "SHARED/notes.txt",
    "SHM/notes.txt",
)
SECRETS = (
    *("HOME/.ssh/id_ed25519", "HOME/.aws/credentials", "HOME/.config/autoroute/credentials.toml", "PROJECT/.env"),
    *("PRIVATE/credentials", "OTHER/plans.txt", "SHARED/secret.txt", "SHM/secret.txt"),
)


def route(name: str, target: str) -> str:
    """Return the shell text that sets ``$D`` and ``$T``; ``target`` is a row of ``TARGETS`` or ``SECRETS``."""
    place, _, rest = target.partition("/")
    inner, _, file = rest.rpartition("/")
    folder = f"@{place}@" + (f"/{inner}" if inner else "")
    text = {**TO_FOLDER, **TO_FILE}[name].replace(
        "@FOLDER_PATTERN@", f"@{place}_PATTERN@" + (f"/{inner}" if inner else "")
    )
    return text.replace("@FOLDER@", folder).replace("@NAME@", file) + "; export D T"
