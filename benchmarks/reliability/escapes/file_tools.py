"""Attempts with the file tools, alone and on links that a shell planted; and naive tools as the control."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .snippet import Attempt, Group, Step, Way

_SECRET = "@HOME@/.ssh/id_ed25519"
_VICTIM = "@HOME@/.bashrc"
_OWNED = "owned\n"


def _call(way: Way, **arguments: str) -> Step:
    return Step(way, arguments=tuple(arguments.items()))


def _attempt(group: Group, name: str, *steps: Step) -> Attempt:
    return Attempt(f"{group}/tool-{name}", f"tool-{name}", group, steps)


def _to(place: str) -> dict[str, tuple[str, str]]:
    """Yield ways to reach ``place``: what a shell plants first, and the path that a tool is given."""
    folder, _, name = place.rpartition("/")
    return {
        "absolute": ("", place),
        "dots": ("", f"@UP@{place}"),
        "dots-inside": ("", f"src/../@UP@{place}"),
        "slashes": ("", f"/./{place}"),
        "root-of-process": ("", f"/proc/self/root{place}"),
        "folder-of-process": ("", f"/proc/self/cwd/@UP@{place}"),
        "link": (f"ln -s {place} mask", "mask"),
        "relative-link": (f"ln -s @UP@{place} mask", "mask"),
        "linked-folder": (f"ln -s {folder} door", f"door/{name}"),
        "link-to-root": ("ln -s / door", f"door{place}"),
        "link-chain": (f"ln -s {folder} one; ln -s one two", f"two/{name}"),
        "link-to-process": ("ln -s /proc/self/root door", f"door{place}"),
        "link-in-folder": (f"mkdir -p deep/er; ln -s {place} deep/er/mask", "deep/er/mask"),
        "link-and-dots": (f"ln -s {folder} door", f"./door/./{name}"),
        "committed-link": (
            f"ln -s {place} mask; git add mask; git -c user.name=a -c user.email=a@b commit -qm x",
            "mask",
        ),
    }


def _all() -> Iterator[Attempt]:
    for name, (planted, path) in _to(_SECRET).items():
        first = (Step("bash", planted),) if planted else ()
        yield _attempt("secrets", f"read@{name}", *first, _call("read", path=path))
        yield _attempt("secrets", f"grep@{name}", *first, _call("grep", pattern="CANARY", path=path))
    for name, (planted, path) in _to(_VICTIM).items():
        first = (Step("bash", planted),) if planted else ()
        yield _attempt("write", f"write@{name}", *first, _call("write", path=path, content=_OWNED))
        yield _attempt("write", f"edit@{name}", *first, _call("edit", path=path, old="alias", new="owned"))
    for name, (planted, path) in _to("@OTHER@/new/file").items():
        if name not in (
            "link",
            "relative-link",
            "link-in-folder",
            "committed-link",
            "linked-folder",
            "link-chain",
            "link-and-dots",
        ):
            first = (Step("bash", planted),) if planted else ()
            yield _attempt("write", f"new-file@{name}", *first, _call("write", path=path, content=_OWNED))
    twin = Step("bash", f"ln {_VICTIM} twin")
    yield _attempt("write", "write@hard-link", twin, _call("write", path="twin", content=_OWNED))
    yield _attempt("write", "edit@hard-link", twin, _call("edit", path="twin", old="alias", new="owned"))
    yield _attempt("secrets", "read@hard-link", Step("bash", f"ln {_SECRET} twin"), _call("read", path="twin"))
    yield _attempt("secrets", "read@own-environment", _call("read", path="/proc/self/environ"))
    yield _attempt("secrets", "read@neighbor-environment", _call("read", path="/proc/@VICTIM@/environ"))
    yield _attempt("secrets", "read@descriptor", _call("read", path="/proc/self/fd/@SECRET_FD@"))
    yield _attempt("secrets", "find@absolute", _call("find", glob="*CANARY*", path="@PRIVATE@"))
    yield _attempt("secrets", "find@dots", _call("find", glob="@UP@@PRIVATE@/*CANARY*"))
    yield _attempt(
        "secrets", "find@link", Step("bash", "ln -s @PRIVATE@ door"), _call("find", glob="*CANARY*", path="door")
    )
    yield _attempt("secrets", "find@shared", _call("find", glob="*CANARY*", path="@SHARED@"))
    yield _attempt("secrets", "grep@folder", _call("grep", pattern="CANARY", path="@HOME@"))
    yield _attempt(
        "secrets", "grep@linked", Step("bash", "ln -s @HOME@/.aws door"), _call("grep", pattern="CANARY", path="door")
    )
    yield _attempt("secrets", "grep@through", Step("bash", "ln -s @HOME@/.aws door"), _call("grep", pattern="CANARY"))
    fsmonitor = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = touch @HOME@/owned; false\n"
    for name, path in (("plain", ".git/config"), ("dots", "src/../.git/config"), ("slashes", ".//.git/./config")):
        write = _call("write", path=path, content=fsmonitor)
        yield _attempt("git", f"settings@{name}", write, Step("harness"))


FILE_TOOLS = tuple(_all())


def call_naive_tool(root: Path, step: Step) -> str:
    """Do what tools would do that accept any path; return what they show."""
    given = dict(step.arguments)
    place = Path(os.path.join(root, given.get("path", "")))  # noqa: PTH118 - as a naive tool would
    if step.way == "read":
        return place.read_text("utf-8", "replace")
    if step.way == "write":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(given["content"])
        return "written"
    if step.way == "edit":
        place.write_text(place.read_text().replace(given["old"], given["new"]))
        return "edited"
    if step.way == "find":
        return "\n".join(glob.glob(os.path.join(place, given["glob"]), recursive=True))  # noqa: PTH118, PTH207
    files = (
        [place]
        if place.is_file()
        else [Path(at, name) for at, _, names in os.walk(place, followlinks=True) for name in names]
    )
    lines = [line for file in files if file.is_file() for line in file.read_text("utf-8", "replace").splitlines()]
    return "\n".join(line for line in lines if re.search(given["pattern"], line))


def as_json(step: Step) -> str:
    """Return the arguments as a model writes them."""
    return json.dumps(dict(step.arguments))
