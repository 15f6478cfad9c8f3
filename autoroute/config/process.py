"""Hardening of the process, which holds keys: other processes may not read its memory, and crashes do not dump it.

It also inherits the processes that its commands leave behind: in a container, no one else may wait for them.
"""

from __future__ import annotations

import sys

_PR_SET_DUMPABLE = 4
"""https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html"""
_PR_SET_CHILD_SUBREAPER = 36
"""https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html"""


def harden_process() -> None:
    """Turn off core files, and on Linux close memory and environment to other processes of the same user.

    The command line calls it first of all; a program that imports autoroute is left as it is. Debuggers and ``/proc``
    readers then need root or CAP_SYS_PTRACE. Programs that it executes are not affected: the kernel resets the
    attribute on exec.
    """
    try:
        import resource
    except ImportError:  # Windows has neither core files nor this kind of access between a user's processes
        return
    # A core file would write the keys to the disk.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard_limit))
    if sys.platform == "linux":
        import ctypes

        # A model's command has the same user, so it could read /proc/PID/environ and /proc/PID/mem of its parent. To
        # remove the keys from os.environ does not help: the kernel keeps the initial environment.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
