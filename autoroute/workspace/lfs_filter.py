"""The filter program of Git LFS files in the workspace. git runs this file itself, by its path.

    python -I -S lfs_filter.py CACHE STORE…

It speaks git's long-running filter protocol (gitattributes(5), "Long Running Filter Process"). *Smudge* turns a pointer
into the content that a store has, and leaves a pointer without one as it is. *Clean* turns content into a pointer and
keeps the content in the cache. ``CACHE`` and ``STORE`` are laid out as ``.git/lfs/objects``. The programs of Git LFS
are not needed, and no network is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

MAX_POINTER_BYTES = 1024
"""Git LFS takes no larger file for a pointer."""
_POINTER = re.compile(rb"version \S+\noid sha256:([0-9a-f]{64})\nsize ([1-9]\d{0,17})\n")
_MAX_PACKET_BYTES = 65_516
_LENGTH_DIGITS = 4
_BLOCK_BYTES = 1024 * 1024


class Pointer(NamedTuple):
    """What a pointer file names: the SHA-256 of the content in hex digits, and its size in bytes."""

    oid: str
    size: int

    @property
    def text(self) -> bytes:
        """The content of the pointer file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()


def parse_pointer(data: bytes) -> Pointer | None:
    """Return the pointer that a file is; None for any other content.

    Pointers of old or extended forms count as content: cleaning them again would not give the same bytes.
    """
    found = _POINTER.fullmatch(data) if len(data) < MAX_POINTER_BYTES else None
    pointer = Pointer(found[1].decode(), int(found[2])) if found else None
    return pointer if pointer and pointer.text == data else None


def object_path(folder: Path, oid: str) -> Path:
    """Return where a folder of objects keeps the content with a SHA-256."""
    return folder / oid[:2] / oid[2:4] / oid


def find_object(pointer: Pointer, folders: Sequence[Path]) -> Path | None:
    """Return the file with the content of a pointer, checked to the last byte; None if no folder has it."""
    for folder in folders:
        path = object_path(folder, pointer.oid)
        try:
            if path.stat().st_size == pointer.size and hash_file(path) == pointer.oid:
                return path
        except OSError:
            continue
    return None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_object(blocks: Iterable[bytes], folder: Path, known: Sequence[Path] = ()) -> Pointer:
    """Store content in a folder of objects, in one step, unless a ``known`` folder has it; return its pointer.

    Raises ``OSError``.
    """
    digest, size = hashlib.sha256(), 0
    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="incoming-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                digest.update(block)
                size += file.write(block)
            os.fchmod(handle, 0o644)
        pointer = Pointer(digest.hexdigest(), size)
        if find_object(pointer, known) is None:
            path = object_path(folder, pointer.oid)
            path.parent.mkdir(parents=True, exist_ok=True)
            Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return pointer


def _serve(source: IO[bytes], target: IO[bytes], cache: Path, stores: Sequence[Path]) -> None:
    """Answer git until it closes the connection."""
    list(_read_packets(source))
    _write_packets(target, b"git-filter-server\n", b"version=2\n")
    list(_read_packets(source))
    _write_packets(target, b"capability=clean\n", b"capability=smudge\n")
    while request := list(_read_packets(source)):
        _answer(b"command=clean\n" in request, source, target, cache, stores)


def _answer(clean: bool, source: IO[bytes], target: IO[bytes], cache: Path, stores: Sequence[Path]) -> None:
    packets = _read_packets(source)
    beginning = b""
    for packet in packets:
        beginning += packet
        if len(beginning) >= MAX_POINTER_BYTES:
            break
    pointer = parse_pointer(beginning)
    blocks: Iterable[bytes]
    try:
        if clean and beginning and pointer is None:
            blocks = [keep_object(chain([beginning], packets), cache, stores).text]
        elif not clean and pointer and (path := find_object(pointer, [cache, *stores])):
            blocks = _read_blocks(path)
        else:
            # git sends its whole request before it reads, so the answer waits for the end of it.
            blocks = [beginning, *packets]
    except OSError as error:
        sys.stderr.write(f"autoroute: cannot store a Git LFS object: {error.strerror}\n")
        for _ in packets:
            pass
        _write_packets(target, b"status=error\n")
        return
    _write_packets(target, b"status=success\n")
    for block in blocks:
        for start in range(0, len(block), _MAX_PACKET_BYTES):
            _write_packet(target, block[start : start + _MAX_PACKET_BYTES])
    _write_packets(target)
    _write_packets(target)


def _read_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _read_packets(source: IO[bytes]) -> Iterator[bytes]:
    """Yield the packets up to the next flush packet, or to the end of the connection."""
    while length := source.read(_LENGTH_DIGITS):
        size = int(length, 16)
        if not size:
            return
        yield source.read(size - _LENGTH_DIGITS)


def _write_packet(target: IO[bytes], data: bytes) -> None:
    target.write(b"%04x" % (len(data) + _LENGTH_DIGITS) + data)


def _write_packets(target: IO[bytes], *packets: bytes) -> None:
    """Write packets and a flush packet."""
    for packet in packets:
        _write_packet(target, packet)
    target.write(b"0000")
    target.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer, Path(sys.argv[1]), [Path(store) for store in sys.argv[2:]])
