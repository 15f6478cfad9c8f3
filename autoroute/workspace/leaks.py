"""Secrets in a change, found before it leaves the workspace: the user's own keys, and tokens by their shape.

Every commit is looked at, not only the sum of them: what one adds and the next takes out stays in the history. Only
what a commit adds counts, and not what it moves or spaces anew. A value is never shown, only its place. Archives and
pictures are not unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.workspace.git import Git

Holds = Callable[[str], bool]
"""Whether a text holds a key of the user's, in any form."""

_LARGEST = 32 * 1024 * 1024
_READ_AT_ONCE = 32 * 1024 * 1024
_READ_IN_ALL = 512 * 1024 * 1024
_COMMITS = 2_000
_GITLINK = "160000"

_START = rb"(?<![A-Za-z0-9_-])"
KINDS = MappingProxyType(
    {
        kind: (marker, re.compile(_START + shape))
        for kind, (marker, shape) in {
            "an Anthropic key": (b"sk-ant-", rb"sk-ant-[a-z]{3,5}\d\d-[A-Za-z0-9_-]{24,}"),
            "an OpenAI key": (b"sk-", rb"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{32,}"),
            "an OpenAI key of the old form": (b"T3BlbkFJ", rb"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
            "an OpenRouter key": (b"sk-or-", rb"sk-or-v1-[0-9a-f]{48,}"),
            "a provider's key": (b"sk-", rb"sk-[0-9a-f]{32}(?![A-Za-z0-9_-])"),
            "a Groq key": (b"gsk_", rb"gsk_[A-Za-z0-9]{48,}"),
            "an xAI key": (b"xai-", rb"xai-[A-Za-z0-9]{64,}"),
            "a Google key": (b"AIza", rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
            "a GitHub token": (b"gh", rb"gh[pousr]_[A-Za-z0-9]{36,}"),
            "a fine-grained GitHub token": (b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,}"),
            "a GitLab token": (b"glpat-", rb"glpat-[A-Za-z0-9_-]{20,}"),
            "a Slack token": (b"xox", rb"xox[abeoprs]-[A-Za-z0-9-]{24,}"),
            "a Slack webhook": (b"hooks.slack.com", rb"hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}"),
            "an AWS key with its secret": (
                b"A",
                rb"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])(?s:.{1,200}?)(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
            ),
            "an npm token": (b"npm_", rb"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
            "a PyPI token": (b"pypi-AgE", rb"pypi-AgE[A-Za-z0-9_-]{50,}"),
            "a Hugging Face token": (b"hf_", rb"hf_[A-Za-z0-9]{34,}"),
            "a Stripe key": (b"k_live_", rb"[sr]k_live_[A-Za-z0-9]{20,}"),
            "a SendGrid key": (b"SG.", rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
            "a DigitalOcean token": (b"dop_v1_", rb"dop_v1_[0-9a-f]{64}"),
            "a signed token (JWT)": (b"eyJ", rb"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{32,}\.[A-Za-z0-9_-]{32,}"),
            "a private key": (
                b"PRIVATE KEY",
                (
                    rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----[\s\"'+,\\nr]{1,40}"
                    rb"(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n\s{0,40}){0,4}[A-Za-z0-9+/=]{40}[A-Za-z0-9+/=\s]{0,120}"
                ),
            ),
        }.items()
    }
)
"""Kinds of secrets: a few bytes that each holds, to pass over what has none quickly, and its shape."""

_PLACEHOLDER = re.compile(
    rb"example|placeholder|dummy|fake|sample|changeme|your|redacted|xxxx|0000|\.\.\.|\*\*\*"
    rb"|1234567|abcdefg|deadbeef|IkpvaG4gRG9l",  # the last is the name in everybody's example of a JWT
    re.IGNORECASE,
)
_FEWEST_LETTERS = 10
"""Different characters in a token that nobody made up by holding a key down."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Where something that looks like a secret was added; ``line`` counts from 1, 0 where there is none."""

    path: str
    line: int
    commit: str
    kind: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}{f' in commit {self.commit[:12]}' if self.commit else ''}: {self.kind}"


def never(_text: str) -> bool:
    """For who knows no keys."""
    return False


def leaks_in_commits(git: Git, tip: str, known: Sequence[str], holds: Holds) -> list[Leak]:
    """What the commits up to ``tip``, and beyond those that are ``known``, add: contents, names and messages."""
    commits = git.text("rev-list", "--reverse", tip, *(f"^{commit}" for commit in known if commit)).split()
    if len(commits) > _COMMITS:
        return [Leak("the history", 0, tip, f"{len(commits)} commits, too many to be searched for secrets")]
    found = []
    for commit in commits:
        message = git.run("log", "-1", "--no-show-signature", "--format=%B", commit)
        found += [Leak("the commit message", line, commit, kind) for line, kind in _secrets(message, _Before(), holds)]
        raw = git.paths("diff-tree", "--root", "-m", "--no-commit-id", *_RAW, commit)
        found += _leaks(git, raw, commit, holds)
    return found


def leaks_in_tree(git: Git, before: str, after: str, holds: Holds) -> list[Leak]:
    """What ``after`` adds to ``before``, both trees or commits."""
    return _leaks(git, git.paths("diff-tree", *_RAW, before, after), "", holds)


_RAW = ("-r", "--raw", "--no-abbrev", "--no-renames", "-z")


def _leaks(git: Git, raw: Sequence[str], commit: str, holds: Holds) -> list[Leak]:
    pairs, was = [], set()
    for change, path in zip(raw[::2], raw[1::2], strict=True):
        old_mode, mode, old, new, status = change.removeprefix(":").split(" ")
        if status != "A" and old_mode != _GITLINK:
            was.add(old)
        if status != "D" and mode != _GITLINK:
            pairs.append((path, old, new))
    sizes = _sizes(git, was.union(*((old, new) for _, old, new in pairs)))
    moved = _Before(_read(git, was).values()) if sum(sizes[oid] for oid in was) <= _READ_AT_ONCE else None
    found = [
        Leak(path, line, commit, f"{kind}, in the name") for path, _, _ in pairs for line, kind in _named(path, holds)
    ]
    if sum(sizes[new] for _, _, new in pairs) > _READ_IN_ALL:
        return [*found, Leak("the change", 0, commit, "too large to be searched for secrets")]
    for path, _, new in pairs:
        if sizes[new] > _LARGEST:
            found.append(Leak(path, 0, commit, f"{sizes[new] >> 20} MiB, too large to be searched for secrets"))
    for group in _groups([pair for pair in pairs if sizes[pair[2]] <= _LARGEST], sizes):
        blobs = _read(git, {oid for _, old, new in group for oid in (old, new) if 0 < sizes[oid] <= _LARGEST})
        for path, old, new in group:
            before = moved or _Before([blobs.get(old, b"")])
            found += [Leak(path, line, commit, kind) for line, kind in _secrets(blobs.get(new, b""), before, holds)]
    return found


def _named(path: str, holds: Holds) -> list[tuple[int, str]]:
    return [(0, kind) for _, kind in _secrets(path.encode("utf-8", "surrogateescape"), _Before(), holds)]


class _Before:
    """What stood in the files that a change touches or deletes: a secret that only moves about is no new one."""

    def __init__(self, blobs: Iterable[bytes] = ()) -> None:
        text = b"\n".join(blobs).replace(b"\0", b"")  # UTF-16, or no text at all
        self.lines = frozenset(text.split(b"\n"))
        self._packed = b"".join(text.split())

    def has(self, token: bytes) -> bool:
        """Whether it stood there, however it was spaced."""
        return b"".join(token.split()) in self._packed


def _secrets(new: bytes, before: _Before, holds: Holds) -> list[tuple[int, str]]:
    """Line and kind of each secret that ``new`` has and that was not there before."""
    new = new.replace(b"\0", b"")
    lines, found = new.split(b"\n"), []
    for kind, (marker, shape) in KINDS.items():
        for match in shape.finditer(new) if marker in new else ():
            line = new.count(b"\n", 0, match.start()) + 1
            token = match[0]
            if before.has(token) or _PLACEHOLDER.search(token) or len(set(token)) < _FEWEST_LETTERS:
                continue
            found.append((line, kind))
    added = [(number, line) for number, line in enumerate(lines, start=1) if line not in before.lines]
    if added and holds(b"\n".join(line for _, line in added).decode("utf-8", "replace")):
        own = [number for number, line in added if holds(line.decode("utf-8", "replace"))]
        found += [(number, "a key of yours") for number in own or [added[0][0]]]
    return found


def _sizes(git: Git, oids: set[str]) -> dict[str, int]:
    sizes = dict.fromkeys(oids, 0)
    asked = sorted(oid for oid in oids if oid.strip("0"))
    answer = git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", data="\n".join([*asked, ""]).encode())
    for line in answer.decode().splitlines():
        oid, _, size = line.partition(" ")
        # An object that is not there (a submodule's commit, in place of a file) has no size.
        sizes[oid] = int(size) if size.isdigit() else 0
    return sizes


def _groups(pairs: Sequence[tuple[str, str, str]], sizes: dict[str, int]) -> Iterator[list[tuple[str, str, str]]]:
    """Pairs that are read together, so that not everything is in memory at the same time."""
    group: list[tuple[str, str, str]] = []
    size = 0
    for pair in pairs:
        if group and size > _READ_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(pair)
        size += sizes[pair[1]] + sizes[pair[2]]
    if group:
        yield group


def _read(git: Git, oids: set[str]) -> dict[str, bytes]:
    """The contents of blobs, by one process."""
    data = git.run("cat-file", "--batch", data="\n".join([*sorted(oids), ""]).encode()) if oids else b""
    blobs, place = {}, 0
    while place < len(data):
        end = data.index(b"\n", place)
        oid, kind, size = data[place:end].decode().split(" ")
        if kind == "blob":
            blobs[oid] = data[end + 1 : end + 1 + int(size)]
        place = end + int(size) + 2
    return blobs
