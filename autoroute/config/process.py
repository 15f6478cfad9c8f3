"""A process that holds keys: no other one of the same user may read its memory, and no crash writes it to a disk."""

from __future__ import annotations

import sys

_PR_SET_DUMPABLE = 4
"""https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html"""


def close_to_others() -> None:
    """Keep memory and environment from debuggers, from ``/proc`` and out of core files; the first only on Linux.

    What it executes is as open as ever. Only root, and who may trace every process, is let in still.
    """
    try:
        import resource
    except ImportError:  # Windows has neither core files nor other processes of a user that are kept apart
        return
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
