"""Building blocks of the snippets."""

from __future__ import annotations

from ..snippet import Group, On, Snippet

WON = 'echo "WO""N-@NONCE@"'
"""Prints a word that the text of the command does not contain, to show that it worked."""


def python(text: str) -> str:
    """Return a Python program as shell text; ``won()`` reports success, ``call`` makes a system call by number."""
    return f"python3 - <<'PY'\n{_BEGINNING}{text.strip()}\nPY"


def shell(group: Group, on: On = "", **texts: str) -> tuple[Snippet, ...]:
    """Return one snippet for each name; underscores in names become hyphens."""
    return tuple(Snippet(name.replace("_", "-"), group, text, on) for name, text in texts.items())


_BEGINNING = """
import ctypes, os, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def won(): print("WO" + "N-@NONCE@", flush=True)
def call(number, *given):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(v) if isinstance(v, int) else v for v in given])
    return result, ctypes.get_errno()
"""
