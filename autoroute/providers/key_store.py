"""The keys that ``autoroute login`` stored: in the OS keyring if one works here, else in a file of mode 0600."""

from __future__ import annotations

import importlib
import json
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoroute.atomic import write_private
from autoroute.errors import ConfigError, WorkspaceError

_KEYRING_SERVICE = "autoroute"


class KeyStore:
    """Stored keys by provider and account. ``folder`` holds the key file and an index of which key is where."""

    def __init__(self, folder: Path) -> None:
        self._index = folder / "logins.json"
        self._file = folder / "keys.json"

    def get(self, provider: str, label: str) -> tuple[str, str] | None:
        """Return a key and its source; None if none is stored.

        Raises ``ConfigError`` if other users can read the key file.
        """
        name = f"{provider}:{label}"
        location = _read_json(self._index).get(name)
        if location == "keyring":
            ring = _keyring()
            value = ring.get_password(_KEYRING_SERVICE, name) if ring else None
            return (value, "the OS keyring") if value else None
        if location == "file":
            check_private(self._file)
            value = _read_json(self._file).get(name)
            return (value, str(self._file)) if value else None
        return None

    def keys_in_file(self) -> Sequence[str]:
        """Return the keys in the file, for redaction; none if other users can read it, because ``get`` rejects it."""
        with suppress(ConfigError):
            check_private(self._file)
            return [value for value in _read_json(self._file).values() if isinstance(value, str)]
        return ()

    def put(self, provider: str, label: str, key: str) -> str:
        """Store a key and return its location, for people."""
        name = f"{provider}:{label}"
        ring = _keyring()
        if ring is not None:
            try:
                ring.set_password(_KEYRING_SERVICE, name, key)
            except ring.errors.KeyringError:
                ring = None
        if ring is None:
            _write_json(self._file, {**_read_json(self._file), name: key})
        _write_json(self._index, {**_read_json(self._index), name: "keyring" if ring else "file"})
        return "the OS keyring" if ring else str(self._file)

    def remove(self, provider: str, label: str) -> bool:
        """Delete a key and return whether one was stored."""
        name, index = f"{provider}:{label}", _read_json(self._index)
        location = index.pop(name, None)
        if location is None:
            return False
        ring = _keyring() if location == "keyring" else None
        if ring is not None:
            with suppress(ring.errors.KeyringError):
                ring.delete_password(_KEYRING_SERVICE, name)
        keys = _read_json(self._file)
        if keys.pop(name, None) is not None:
            _write_json(self._file, keys)
        _write_json(self._index, index)
        return True


def check_private(path: Path) -> None:
    """Raise ``ConfigError`` if other users can read a file with a key in it. A missing file is fine.

    Raises ``WorkspaceError`` if the file's folder cannot be searched.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorkspaceError(
            f"cannot read {path}: {error.strerror}", hint="check that you may read and write there"
        ) from None
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise ConfigError(f"{path} contains a key and other users can read it", hint=f"chmod 600 {path}")


def _keyring() -> Any:
    """Return the ``keyring`` library if it has a backend that works here, else None."""
    try:
        ring = importlib.import_module("keyring")
        return ring if ring.get_keyring().priority > 0 else None
    except (ImportError, RuntimeError):
        return None


def _read_json(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ConfigError(f"cannot read {path}", hint=f"rm {path}, then autoroute login again") from None
    return data if isinstance(data, dict) else {}


def _write_json(path: Path, data: Mapping[str, str]) -> None:
    try:
        write_private(path, json.dumps(data))
    except OSError as error:
        raise WorkspaceError(f"cannot write {path}: {error.strerror}") from None
