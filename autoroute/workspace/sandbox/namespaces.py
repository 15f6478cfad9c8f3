"""What keeps users other than root from making a user namespace, which bubblewrap needs."""

from __future__ import annotations

from pathlib import Path

from autoroute.workspace.bounded_files import read_start

_SETTINGS = Path("/proc/sys")
_BARS = (
    # https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids it to programs without a profile"),
    ("kernel/unprivileged_userns_clone", "0", "the kernel's setting forbids it"),  # Debian's own setting
    ("user/max_user_namespaces", "0", "the kernel's limit is 0"),  # namespaces(7)
)


def find_namespace_bar(settings: Path = _SETTINGS) -> str:
    """Return which setting of the kernel forbids user namespaces to ordinary users, in words; "" for none."""
    for name, value, words in _BARS:
        if read_start(settings / name).strip() == value:
            return f"{words} ({name.replace('/', '.')} = {value})"
    return ""
