"""Files that are overwritten for a while and restored: content, mode, and a time that moves forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from autoroute.workspace.files import Files
from autoroute.workspace.path_policy import FileRefused

_MAX_BYTES = 256 * 1024 * 1024
"""Of all files together: their content is kept in memory."""


@contextmanager
def overwritten(files: Files, paths: Sequence[str], content: bytes) -> Iterator[Sequence[str]]:
    """Overwrite these files while the context lasts; it is the paths that were overwritten.

    Each file is written anew under its name, so its time moves forward, and its size differs from the original: tools
    that cache what they built compare one or both. Links, and files that cannot be read or written, are left alone.
    """
    originals: dict[str, bytes] = {}
    left = _MAX_BYTES
    try:
        for path in paths:
            with suppress(FileRefused, OSError):
                original = files.read(path)
                left -= len(original)
                if left < 0:
                    break
                originals[path] = original
                files.write(path, content if len(content) != len(original) else content + b"\n")
        yield tuple(originals)
    finally:
        for path, original in originals.items():
            # What a command put in the place of a file is undone with everything else that it changed.
            with suppress(FileRefused, OSError):
                files.write(path, original)
