"""How to open what is beneath a folder, whatever is renamed or linked meanwhile: by the kernel, or name by name."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from autoroute.workspace.path_policy import FileRefused

OpenBeneath = Callable[[int, str, int], int]
"""Opens a path relative to an open folder, with flags of ``os.open``, and follows no link; gives the handle.

The path holds no ``..``. Raises ``FileRefused`` for a symbolic link on the way, and ``OSError`` with the whole path.
"""

_OPENAT2 = 437
_HOW = struct.Struct("@QQQ")
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_BENEATH = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_TURNED_AWAY = (errno.ELOOP, errno.EXDEV, errno.EAGAIN)


def open_with_openat2(folder: int, path: str, flags: int) -> int:
    """``openat2(2)`` of Linux 5.6 and newer: the kernel itself goes no way that leads out of the folder."""
    if "\0" in path:
        raise ValueError("embedded null character")  # C would take what is before it for the whole
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, _BENEATH)
    while True:
        handle: int = _syscall()(_OPENAT2, folder, os.fsencode(path), how, len(how))
        if handle >= 0:
            return handle
        code = ctypes.get_errno()
        if code in _TURNED_AWAY:
            return open_by_component(folder, path, flags)  # just as safe, and it sees which link it is
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code), path)


def open_by_component(folder: int, path: str, flags: int) -> int:
    """Every folder on the way is opened by its name in the one before, without following links."""
    *way, last = path.split("/")
    here, reached = folder, ""
    try:
        for name in way:
            reached += name
            inner = _open(here, name, os.O_RDONLY | os.O_DIRECTORY, reached)
            if here != folder:
                os.close(here)
            here = inner
            reached += "/"
        return _open(here, last, flags, path)
    except OSError as error:
        error.filename = path
        raise
    finally:
        if here != folder:
            os.close(here)


@cache
def select_open_beneath(kernel: OpenBeneath = open_with_openat2) -> OpenBeneath:
    """The kernel's way where it has one and a container's filter lets us; else name by name."""
    if sys.platform != "linux":
        return open_by_component
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(kernel(folder, ".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return open_by_component
    finally:
        os.close(folder)
    return kernel


def refuse_symlink(folder: int, name: str, path: str) -> None:
    """Raise ``FileRefused`` if ``name`` in ``folder`` is a symbolic link, in the words for ``path``."""
    with suppress(OSError):
        target = os.readlink(name, dir_fd=folder)
        raise FileRefused(
            f"{path} is a symbolic link to {target}, and tools follow none; "
            "use the path it leads to, if that is in the project"
        )


def _open(folder: int, name: str, flags: int, path: str) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        refuse_symlink(folder, name, path)
        raise


@cache
def _syscall() -> Callable[[int, int, bytes, bytes, int], int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    return function
