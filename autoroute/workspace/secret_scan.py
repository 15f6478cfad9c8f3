"""A scan for secrets in a change before it leaves the workspace: keys of the user, and tokens of known shapes.

Every commit is scanned, not only their sum: a secret that one adds and the next removes stays in the history. A secret
that was there before does not count: in a file that the same commit changes or deletes, or in a copy of a file. Only
the place of a secret is reported, never its value. Archives and images are not unpacked.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autoroute.patterns import pattern
from autoroute.workspace.git import Git

ContainsKey = Callable[[str], bool]
"""Returns whether a text contains a key of the user, plain or encoded."""

_MAX_BLOB_BYTES = 32 * 1024 * 1024
_BATCH_BYTES = 32 * 1024 * 1024
_MAX_SCANNED_BYTES = 512 * 1024 * 1024
_MAX_COMMITS = 2_000
_MAX_OWN_KEYS = 100
"""How many keys of the user in one text are located; all that follow count as one."""
_WINDOW_CHARACTERS = 256
_GITLINK = "160000"

_START = rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
"""A token starts after a character that is not part of one, or after an escape: ``\\n`` in JSON, ``%3D`` in a URL."""
_AWS_KEY = rb"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
_AWS_SECRET = rb"(?<![A-Za-z0-9/+])(?![0-9a-fA-F]{40})[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
_NEAR = rb"(?s:.{1,200}?)"
_NEXT_LINE = rb"[\s\"'+,\\nr#*/>]{1,40}+"
"""The end of a line and the start of the next, also inside a string, a comment or a quotation."""
SECRET_KINDS = MappingProxyType(
    {
        kind: (marker, pattern(_START + shape))
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
            "a GitLab token": (b"gl", rb"gl(?:pat|rt|dt|ptt|cbt|oas)-[A-Za-z0-9_-]{20,}"),
            "a Slack token": (b"xox", rb"xox[abeoprs]-[A-Za-z0-9-]{24,}"),
            "a Slack app token": (b"xapp-", rb"xapp-\d-[A-Z0-9]{8,16}-\d{8,16}-[0-9a-f]{64}(?![A-Za-z0-9])"),
            "a Slack webhook": (
                b"hooks.slack.com",
                rb"hooks\.slack\.com/(?:services|workflows|triggers)/[TE]\w{8,}(?:/\w{8,}){1,2}/\w{20,}",
            ),
            "an AWS key with its secret": (
                b"IA",
                rb"(?:(%b)%b(%b)|(?=%b%b%b(%b))(.{40}))"
                % (_AWS_KEY, _NEAR, _AWS_SECRET, _AWS_SECRET, _NEAR, _START, _AWS_KEY),
            ),
            "an npm token": (b"npm_", rb"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
            "a PyPI token": (b"pypi-AgE", rb"pypi-AgE[A-Za-z0-9_-]{50,}"),
            "a Hugging Face token": (b"hf_", rb"hf_[A-Za-z0-9]{34,}"),
            "a Stripe key": (b"k_live_", rb"[sr]k_live_[A-Za-z0-9]{20,}"),
            "a Stripe webhook secret": (b"whsec_", rb"whsec_[A-Za-z0-9]{32,}"),
            "a Shopify token": (b"shp", rb"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![A-Za-z0-9])"),
            "a Google access token": (b"ya29.", rb"ya29\.(?:[a-z]\.)?[A-Za-z0-9_-]{60,}"),
            "a Google client secret": (b"GOCSPX-", rb"GOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])"),
            "an Azure storage key": (b"AccountKey=", rb"AccountKey=([A-Za-z0-9+/]{86}==)"),
            "a Docker token": (b"dckr_pat_", rb"dckr_pat_[A-Za-z0-9_-]{27,}"),
            "a Vault token": (b"hvs.", rb"hvs\.[A-Za-z0-9_-]{24,}"),
            "a Linear key": (b"lin_api_", rb"lin_api_[A-Za-z0-9]{40}(?![A-Za-z0-9])"),
            "a Grafana token": (b"glsa_", rb"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}(?![A-Za-z0-9])"),
            "a RubyGems key": (b"rubygems_", rb"rubygems_[0-9a-f]{48}(?![A-Za-z0-9])"),
            "an age key": (b"AGE-SECRET-KEY-1", rb"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
            "an NVIDIA key": (b"nvapi-", rb"nvapi-[A-Za-z0-9_-]{60,}"),
            "a Perplexity key": (b"pplx-", rb"pplx-[A-Za-z0-9]{48,}"),
            "a Cerebras key": (b"csk-", rb"csk-[a-z0-9]{48}(?![A-Za-z0-9])"),
            "a Replicate token": (b"r8_", rb"r8_[A-Za-z0-9]{37}(?![A-Za-z0-9])"),
            "a Notion token": (b"ntn_", rb"ntn_\d{11}[A-Za-z0-9]{35}(?![A-Za-z0-9])"),
            "a Notion token of the old form": (b"secret_", rb"secret_[A-Za-z0-9]{43}(?![A-Za-z0-9])"),
            "an Atlassian token": (b"TT3", rb"AT[AC]TT3[A-Za-z0-9_-]{100,}=[0-9A-F]{8}(?![A-Za-z0-9])"),
            "a Supabase token": (b"sbp_", rb"sbp_(?:v0_|oauth_)?[0-9a-f]{40}(?![A-Za-z0-9])"),
            "a Supabase key": (b"sb_secret_", rb"sb_secret_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{8}(?![A-Za-z0-9_-])"),
            "a Databricks token": (b"dapi", rb"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"),
            "a Sentry token": (b"sntryu_", rb"sntryu_[0-9a-f]{64}(?![A-Za-z0-9])"),
            "a Sentry token of an organization": (b"sntrys_", rb"sntrys_[A-Za-z0-9+/=]{80,}_[A-Za-z0-9+/]{43}"),
            "a SendGrid key": (b"SG.", rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
            "a DigitalOcean token": (b"dop_v1_", rb"dop_v1_[0-9a-f]{64}"),
            "a signed token (JWT)": (b"eyJ", rb"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{32,}\.[A-Za-z0-9_-]{32,}"),
            "a private key": (
                b"PRIVATE KEY",
                (
                    rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----%b"
                    rb"(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n[\s#*/>]{0,40}+){0,4}+([A-Za-z0-9+][A-Za-z0-9+/]{39})"
                    rb"(?=([A-Za-z0-9+/=\s\\\"',#*>]*+))"
                )
                % _NEXT_LINE,
            ),
            "a PuTTY private key": (
                b"PuTTY-User-Key-File-",
                rb"Private-Lines: \d{1,3}%b([A-Za-z0-9+/]{32,64}={0,2})" % _NEXT_LINE,
            ),
        }.items()
    }
)
"""Kinds of secrets: bytes that every text with one contains, and its pattern, which is only tried there.

The groups of a pattern identify a secret among others of its kind (many private keys begin alike); without groups, the
whole match does. Patterns follow what vendors publish: Slack on its webhooks, Sentry, Replicate and Supabase on their
tokens, Amazon on those of Databricks, Microsoft on its keys (64 bytes), PuTTY in appendix C of its manual. Atlassian,
Cerebras, Notion and, for app tokens, Slack publish none: those patterns follow the rules of gitleaks, betterleaks and
trufflehog. Google publishes only the maximum length of its access tokens; 60 characters are about half of the shortest
that was seen.
"""

_HEXADECIMAL_KEY = pattern(r"[0-9a-f]{32,}(?:\.\w{8,})?")
"""Keys of Z.ai and others, which no prefix marks."""
_BEFORE = MappingProxyType({"a Stripe key": len("s"), "an Atlassian token": len("ATA")})
"""How many bytes before those of its kind a secret may begin, where it does not begin with them."""
_BEGINNINGS = MappingProxyType(
    {
        "an OpenAI key of the old form": b"sk-",
        "a private key": b"-----BEGIN ",
        "a PuTTY private key": b"Private-Lines: ",
    }
)
"""The bytes that secrets of a kind begin with, where those of the kind are rarer and further on."""
_ANYWHERE = frozenset({"an AWS key with its secret"})
"""Kinds that may begin with anything, so that their pattern is tried everywhere."""
_PLACEHOLDER = pattern(
    rb"example|placeholder|dummy|fake|sample|changeme|your|redacted|xxxx|0000|\.\.\.|\*\*\*"
    rb"|1234567|abcdefg|deadbeef|IkpvaG4gRG9l"  # the last is ``"John Doe``, from the usual example of a JWT
    # The fixed, public keys of emulators: Azurite, Cosmos DB and ``supabase start``.
    rb"|Eby8vdM02xNO|C2y6yDjf5/R|N7UND0UgjKTVK",
    re.IGNORECASE,
)
_LAYOUT = pattern(rb"[\s\\\"',]+(?:[#*>]+|//+)?")
"""Whitespace, quotes and comment signs, which may change without making a secret a new one."""
_MIN_DISTINCT_CHARACTERS = 10
"""A token with fewer, such as ``sk-aaaa…``, is a placeholder."""


@dataclass(frozen=True, slots=True)
class SecretFinding:
    """Where something that looks like a secret was added; ``line`` counts from 1, 0 for the file as a whole."""

    path: str
    line: int
    commit: str
    kind: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}{f' in commit {self.commit[:12]}' if self.commit else ''}: {self.kind}"


def contains_no_key(_text: str) -> bool:
    """Return False: the ``ContainsKey`` of a user without keys."""
    return False


def scan_commits(git: Git, tip: str, known: Sequence[str], contains_key: ContainsKey) -> list[SecretFinding]:
    """Return the secrets that commits up to ``tip`` and not in ``known`` add: in contents, file names and messages."""
    beyond = (f"^{commit}" for commit in known if commit)
    commits = git.text("rev-list", "--reverse", "--parents", tip, *beyond).splitlines()
    if len(commits) > _MAX_COMMITS:
        return [SecretFinding("the history", 0, tip, f"{len(commits)} commits, too many to scan for secrets")]
    found = []
    for commit, *parents in map(str.split, commits):
        message = git.run("log", "-1", "--no-show-signature", "--format=%B", commit)
        found += [
            SecretFinding("the commit message", line, commit, kind)
            for line, kind, _ in _find_secrets(message, contains_key)
        ]
        raw = git.paths("diff-tree", "--root", "-m", "--no-commit-id", *_RAW, commit)
        found += _scan_changes(git, raw, parents, commit, contains_key)
    return found


def scan_tree(git: Git, before: str, after: str, contains_key: ContainsKey) -> list[SecretFinding]:
    """Return the secrets that ``after`` adds to ``before``, both trees or commits."""
    return _scan_changes(git, git.paths("diff-tree", *_RAW, before, after), [before], "", contains_key)


def looks_like_key(word: str) -> bool:
    """Return whether a word has the shape of a key, so that it is nothing else by chance."""
    if _HEXADECIMAL_KEY.fullmatch(word):
        return True
    return bool(find_kinds(word.encode("utf-8", "replace"), lambda _text: False))


def find_kinds(data: bytes, contains_key: ContainsKey) -> set[str]:
    """Return the kinds of the apparent secrets in a content."""
    return {kind for _, kind, _ in _find_secrets(data, contains_key)}


_RAW = ("-r", "--raw", "--no-abbrev", "--no-renames", "-z")
_Secret = tuple[int, str, bytes]
"""The line, the kind, and the bytes that identify the secret, b"" for none."""


def _scan_changes(
    git: Git, raw: Sequence[str], before: Sequence[str], commit: str, contains_key: ContainsKey
) -> list[SecretFinding]:
    """Return the secrets that the differences ``raw`` add to the trees ``before``."""
    added: dict[tuple[str, str], None] = {}
    old_names, old_blobs = set(), set()
    for change, path in zip(raw[::2], raw[1::2], strict=True):
        old_mode, mode, old, new, status = change.removeprefix(":").split(" ")
        if status != "A":
            old_names.add(path)
        if status != "A" and old_mode != _GITLINK:
            old_blobs.add(old)
        if status != "D" and mode != _GITLINK:
            added[path, new] = None
    new_blobs = {oid for _, oid in added if oid.strip("0")} - old_blobs
    sizes = _read_sizes(git, new_blobs | old_blobs)
    found = [
        (path, (0, f"{kind}, in the file name", token))
        for path, _ in added
        if path not in old_names
        for _, kind, token in _find_secrets(_encode_path(path), contains_key)
    ]
    if sum(sizes[oid] for oid in new_blobs) > _MAX_SCANNED_BYTES:
        found.append(("the change", (0, "too large to scan for secrets", b"")))
    else:
        suspects = _scan_blobs(git, new_blobs, sizes, contains_key)
        for tree in before if suspects else ():
            for entry in git.paths("ls-tree", "-r", "-z", tree):
                suspects.pop(entry.split("\t")[0].split(" ")[2], None)
        found += [(path, secret) for path, oid in added for secret in suspects.get(oid, ())]
    known = set(_find_tokens(git, old_names, old_blobs, sizes, contains_key)) - {b""} if found else ()
    return [SecretFinding(path, line, commit, kind) for path, (line, kind, token) in found if token not in known]


def _scan_blobs(
    git: Git, oids: Iterable[str], sizes: dict[str, int], contains_key: ContainsKey
) -> dict[str, list[_Secret]]:
    """Map each blob with secrets to them; a blob that is too large to scan counts as one with a secret."""
    found: dict[str, list[_Secret]] = {
        oid: [(0, f"{sizes[oid] >> 20} MiB, too large to scan for secrets", b"")]
        for oid in oids
        if sizes[oid] > _MAX_BLOB_BYTES
    }
    for oid, data in _read_blobs(git, oids, sizes):
        if secrets := list(_find_secrets(data, contains_key)):
            found[oid] = secrets
    return found


def _find_tokens(
    git: Git, names: Iterable[str], oids: Iterable[str], sizes: dict[str, int], contains_key: ContainsKey
) -> Iterator[bytes]:
    """Yield the bytes that identify each secret in names and blobs."""
    for name in names:
        yield from (token for _, _, token in _find_secrets(_encode_path(name), contains_key))
    for _, data in _read_blobs(git, oids, sizes):
        yield from (token for _, _, token in _find_secrets(data, contains_key))


def _encode_path(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _find_secrets(data: bytes, contains_key: ContainsKey) -> Iterator[_Secret]:
    data = data.replace(b"\0", b"")  # makes UTF-16 readable
    for kind, (marker, _) in SECRET_KINDS.items():
        line, place = 1, 0
        for match in _find_matches(data, kind) if marker in data else ():
            line, place = line + data.count(b"\n", place, match.start()), match.start()
            token = b"".join(match.groups(b"")) or match[0]
            if not _PLACEHOLDER.search(token) and len(set(token)) >= _MIN_DISTINCT_CHARACTERS:
                yield line, kind, _LAYOUT.sub(b"", token)
    text = data.decode("utf-8", "replace")
    if contains_key(text):
        line, place = 1, 0
        for start, key in _find_own_keys(text, contains_key):
            line, place = line + text.count("\n", place, start), start
            yield line, "a key of yours", _LAYOUT.sub(b"", key.encode())


def _find_matches(data: bytes, kind: str) -> Iterator[re.Match[bytes]]:
    """Yield the matches of a kind, which are looked for where its bytes are.

    A pattern that looks behind itself is slow to search for: all kinds took 39 s for 31 MiB.
    """
    marker, shape = SECRET_KINDS[kind]
    if kind in _ANYWHERE:
        yield from shape.finditer(data)
        return
    marker, before = _BEGINNINGS.get(kind, marker), _BEFORE.get(kind, 0)
    end, place = 0, data.find(marker)
    while place >= 0:
        starts = range(max(end, place - before), place + 1)
        if found := next(filter(None, (shape.match(data, start) for start in starts)), None):
            yield found
            end = found.end()
        place = data.find(marker, max(place + 1, end))


def _find_own_keys(text: str, contains_key: ContainsKey) -> Iterator[tuple[int, str]]:
    """Yield where each key of the user starts, and its shortest text; "" for the first one beyond the maximum.

    ``contains_key`` says only whether a text contains a key, so the key is located by bisection.
    """
    place = 0
    for number in range(_MAX_OWN_KEYS + 1):
        size = _WINDOW_CHARACTERS
        while not contains_key(text[place : place + size]):
            if place + size >= len(text):
                return
            size *= 2
        window = text[place : place + size]
        end = bisect_left(range(len(window)), 1, key=lambda end: int(contains_key(window[:end])))
        start = bisect_left(range(end), 1, key=lambda start: int(not contains_key(window[start:end]))) - 1
        yield place + start, window[start:end] if number < _MAX_OWN_KEYS else ""
        place += end


def _read_sizes(git: Git, oids: Iterable[str]) -> dict[str, int]:
    sizes = dict.fromkeys(oids, 0)
    data = "\n".join([*sorted(sizes), ""]).encode()
    answer = git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", data=data)
    for line in answer.decode().splitlines():
        oid, _, size = line.partition(" ")
        # A missing object (the commit of a submodule, in place of a file) has no size.
        sizes[oid] = int(size) if size.isdigit() else 0
    return sizes


def _read_blobs(git: Git, oids: Iterable[str], sizes: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yield id and content of each blob that is not too large, in batches that fit into memory, up to a total size."""
    group: list[str] = []
    size = total = 0
    for oid in sorted(oids):
        total += sizes[oid]
        if total > _MAX_SCANNED_BYTES:
            break
        if not 0 < sizes[oid] <= _MAX_BLOB_BYTES:
            continue
        if group and size > _BATCH_BYTES:
            yield from _read_batch(git, group)
            group, size = [], 0
        group.append(oid)
        size += sizes[oid]
    if group:
        yield from _read_batch(git, group)


def _read_batch(git: Git, oids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield id and content of each blob, read by one process of git."""
    data = git.run("cat-file", "--batch", data="\n".join([*oids, ""]).encode())
    place = 0
    while place < len(data):
        end = data.index(b"\n", place)
        oid, kind, size = data[place:end].decode().split(" ")
        if kind == "blob":
            yield oid, data[end + 1 : end + 1 + int(size)]
        place = end + int(size) + 2
