"""Planted canaries, assembled at run time so that no scanner reports this file."""

from __future__ import annotations

import base64
import os
import random
import re
import string
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autoroute.errors import ExitCode
from autoroute.redaction import Redactor
from autoroute.workspace import SecretsFound
from autoroute.workspace.clone import PrivateClone
from autoroute.workspace.git import own_git
from autoroute.workspace.secret_scan import (
    SECRET_KINDS,
    _find_matches,
    _find_secrets,
    contains_no_key,
    scan_commits,
    scan_tree,
)
from tests.workspace.conftest import Place

LETTERS, HEX = string.ascii_letters + string.digits, "0123456789abcdef"
CHANCE = random.Random(7)


def some(count: int, letters: str = LETTERS) -> str:
    return "".join(CHANCE.choice(letters) for _ in range(count))


def putty(private: str) -> str:
    begin = "PuTTY-User-Key-" + "File-3: ssh-ed25519"
    return f"{begin}\nEncryption: none\nComment: me\nPublic-Lines: 1\n{some(40)}\nPrivate-Lines: 1\n{private}\n"


UPPER = string.ascii_uppercase + string.digits
HOOKS = "https://hooks.slack." + "com/"
PAIR = "AK" + "IA" + some(16, string.ascii_uppercase), some(40)
CANARIES = {
    "an Anthropic key": ("sk-ant-" + "api03-" + some(90), "sk-ant-" + "api03-" + some(23)),
    "an OpenAI key": ("sk-" + "proj-" + some(100), "sk-" + "proj-" + some(31)),
    "an OpenAI key of the old form": (
        "sk-" + some(20) + "T3Blbk" + "FJ" + some(20),
        "sk-" + some(20) + "T3Blbk" + "FJ" + some(19),
    ),
    "an OpenRouter key": ("sk-or-" + "v1-" + some(64, HEX), "sk-or-" + "v1-" + some(47, HEX)),
    "a provider's key": ("sk-" + some(32, HEX), "sk-" + some(33, HEX)),
    "a Groq key": ("gsk_" + some(52), "gsk_" + some(47)),
    "an xAI key": ("xai-" + some(80), "xai-" + some(63)),
    "a Google key": ("AI" + "za" + some(35), "AI" + "za" + some(36)),
    "a GitHub token": ("gh" + "p_" + some(36), "gh" + "p_" + some(35)),
    "a fine-grained GitHub token": (
        "github_" + "pat_" + some(22) + "_" + some(59),
        "github_" + "pat_" + some(22) + "_" + some(16),
    ),
    "a GitLab token": ("glp" + "at-" + some(20), "glp" + "at-" + some(19)),
    "a Slack token": ("xox" + "b-" + some(12, "3456789") + "-" + some(24), "xox" + "b-" + some(12, "3456789")),
    "a Slack app token": (
        "xapp" + "-1-A" + some(10, UPPER) + "-" + some(13, "3456789") + "-" + some(64, HEX),
        "xapp" + "-1-A" + some(10, UPPER) + "-" + some(13, "3456789") + "-" + some(63, HEX),
    ),
    "a Slack webhook": (
        HOOKS + "services/T" + some(9) + "/B" + some(9) + "/" + some(24),
        HOOKS + "services/T" + some(9) + "/B" + some(9) + "/" + some(19),
    ),
    "an AWS key with its secret": ("\nsecret = ".join(PAIR), "\nsecret = ".join((PAIR[0], some(39)))),
    "an npm token": ("npm" + "_" + some(36), "npm" + "_" + some(37)),
    "a PyPI token": ("pypi-" + "AgEI" + some(120), "pypi-" + "AgEI" + some(48)),
    "a Hugging Face token": ("hf" + "_" + some(34), "hf" + "_" + some(33)),
    "a Stripe key": ("sk_" + "live_" + some(24), "pk_" + "live_" + some(24)),
    "a Stripe webhook secret": ("whs" + "ec_" + some(32), "whs" + "ec_" + some(31)),
    "a Shopify token": ("shp" + "at_" + some(32, HEX), "shp" + "at_" + some(33, HEX)),
    "a Google access token": ("ya2" + "9." + some(160), "ya2" + "9.c." + some(59)),
    "a Google client secret": ("GOC" + "SPX-" + some(28), "GOC" + "SPX-" + some(29)),
    "an Azure storage key": ("Account" + "Key=" + some(86) + "==", "SharedAccess" + "Key=" + some(86) + "=="),
    "a Docker token": ("dckr_" + "pat_" + some(27), "dckr_" + "pat_" + some(26)),
    "a Vault token": ("hv" + "s." + some(90), "hv" + "s." + some(23)),
    "a Linear key": ("lin_" + "api_" + some(40), "lin_" + "api_" + some(41)),
    "a Grafana token": (
        "gl" + "sa_" + some(32) + "_" + some(8, HEX),
        "gl" + "sa_" + some(32) + "_" + some(9, HEX),
    ),
    "a RubyGems key": ("ruby" + "gems_" + some(48, HEX), "ruby" + "gems_" + some(49, HEX)),
    "an age key": ("AGE-SECRET-" + "KEY-1" + some(58, UPPER), "age1" + some(58, UPPER.lower())),
    "an NVIDIA key": ("nv" + "api-" + some(64), "nv" + "api-" + some(59)),
    "a Perplexity key": ("pp" + "lx-" + some(48), "pp" + "lx-" + some(47)),
    "a Cerebras key": ("cs" + "k-" + some(48, UPPER.lower()), "cs" + "k-" + some(48, UPPER)),
    "a Replicate token": ("r" + "8_" + some(37), "r" + "8_" + some(38)),
    "a Notion token": (
        "nt" + "n_" + some(11, "3456789") + some(35),
        "nt" + "n_" + some(10, "3456789") + "a" + some(35),
    ),
    "a Notion token of the old form": ("sec" + "ret_" + some(43), "client_" + "sec" + "ret_" + some(43)),
    "an Atlassian token": ("ATA" + "TT3" + some(180) + "=" + some(8, "3456789ABCDEF"), "ATA" + "TT3" + some(180)),
    "a Supabase token": ("sb" + "p_" + some(40, HEX), "sb" + "p_" + some(41, HEX)),
    "a Supabase key": (
        "sb_" + "secret_" + some(22) + "_" + some(8),
        "sb_" + "publishable_" + some(22) + "_" + some(8),
    ),
    "a Databricks token": ("da" + "pi" + some(32, HEX) + "-2", "da" + "pi" + some(31, HEX) + "-2"),
    "a Sentry token": ("sntr" + "yu_" + some(64, HEX), "sntr" + "yu_" + some(65, HEX)),
    "a Sentry token of an organization": (
        "sntr" + "ys_" + some(150) + "==_" + some(43),
        "sntr" + "ys_" + some(150) + "==_" + some(42),
    ),
    "a SendGrid key": ("SG" + "." + some(22) + "." + some(43), "SG" + "." + some(22) + "." + some(42)),
    "a DigitalOcean token": ("dop_" + "v1_" + some(64, HEX), "dop_" + "v1_" + some(63, HEX)),
    "a signed token (JWT)": (
        "ey" + "J" + some(20) + ".ey" + "J" + some(60) + "." + some(43),
        "ey" + "J" + some(20) + ".ey" + "J" + some(60) + ".",
    ),
    "a private key": (
        "-----BEGIN RSA " + "PRIVATE KEY-----\n" + some(64) + "\n" + some(64) + "\n-----END",
        "-----BEGIN RSA " + "PUBLIC KEY-----\n" + some(64) + "\n" + some(64) + "\n-----END",
    ),
    "a PuTTY private key": (putty(some(48)), putty("...")),
}
"""A token of each kind, and a near miss."""
TOKENS = {kind: token for kind, (token, _) in CANARIES.items()}
OWN = "a-key-of-no-known-shape-" + some(12)


OTHER = "another-key-of-the-same-user-" + some(12)
contains_key = Redactor([OWN, OTHER]).contains_key


def found_in(clone: PrivateClone) -> list[str]:
    git = own_git(clone.folder / "history.git", clone.root, {"PATH": "/usr/bin:/bin"})
    tip = git.text("rev-parse", clone._reference)
    return [
        f"{finding.path}:{finding.line} {finding.kind}"
        for finding in scan_commits(git, tip, [clone.base], contains_key)
    ]


def commit(clone: PrivateClone, name: str, data: str | bytes, subject: str = "Change") -> None:
    (clone.root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    assert clone.commit(clone.snapshot(), subject, "", {})


def kinds_in(text: str) -> list[str]:
    return [kind for _, kind, _ in _find_secrets(text.encode(), contains_no_key)]


def tokens_in(text: str) -> list[bytes]:
    return [token for _, _, token in _find_secrets(text.encode(), contains_no_key)]


def test_every_kind_has_a_canary() -> None:
    assert set(CANARIES) == set(SECRET_KINDS)


@pytest.mark.parametrize("kind", SECRET_KINDS)
def test_tokens_of_every_kind_are_found_and_near_misses_are_not(kind: str) -> None:
    token, near_miss = CANARIES[kind]
    assert kinds_in(token) == [kind]
    assert kinds_in(near_miss) == []
    longest = max(re.findall("[A-Za-z0-9]+", token), key=len)
    assert kinds_in(token.replace(longest, longest[:20] + "EXAMPLE" + longest[27:])) == []


@pytest.mark.parametrize("kind", SECRET_KINDS)
def test_searching_at_a_marker_finds_what_searching_everywhere_finds(kind: str) -> None:
    marker, shape = SECRET_KINDS[kind]
    canary, _ = CANARIES[kind]
    for text in (canary, f"x{canary}", f"{canary}\n{canary}", f"a {canary[:-1]} {canary} gh sk- {canary}", canary[3:]):
        data = text.encode()
        everywhere = [match.span() for match in shape.finditer(data)] if marker in data else []
        found = [match.span() for match in _find_matches(data, kind)] if marker in data else []
        assert found == everywhere
    assert list(shape.finditer(canary.encode()))


def test_every_kind_is_found_at_its_line_and_stops_publishing(place: Place) -> None:
    place.write("old.txt", "".join(f"{token}\n" for token in TOKENS.values()))
    place.commit()
    clone = place.clone()
    commit(clone, "new.txt", "first\n" + "".join(f"key = {token}\n" for token in TOKENS.values()))
    found = found_in(clone)
    assert {entry.partition(" ")[2] for entry in found} >= set(TOKENS)
    lines = (clone.root / "new.txt").read_text().splitlines()
    for entry in found:
        path, _, rest = entry.partition(":")
        number, _, kind = rest.partition(" ")
        assert path == "new.txt"
        assert lines[int(number) - 1].removeprefix("key = ") in TOKENS[kind].split("\n")
    with pytest.raises(SecretsFound, match="looks like a secret") as caught:
        clone.publish(place.folder / "p")
    text = caught.value.message + caught.value.hint
    assert not any(token[-12:] in text for token in TOKENS.values())
    assert caught.value.hint == "revoke it, then autoroute discard r1"
    assert caught.value.exit_code is ExitCode.WORKSPACE
    assert place.git("branch", "--list", "autoroute/*") == ""
    assert not (place.folder / "p").exists()
    assert clone.root.is_dir()
    accepted = PrivateClone(clone._repository, clone.folder, "r1", base=clone.base, accept_secrets=True)
    assert accepted.publish(place.folder / "p").commits == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("key.txt", f"x\n{OWN}\n".encode()),
        ("encoded.txt", b"x\n" + base64.b64encode(OWN.encode()) + b"\n"),
        ("wide.txt", f"x\n{OWN}\n".encode("utf-16")),
        ("wide-token.txt", f"x\n{TOKENS['a GitHub token']}\n".encode("utf-16-be")),
        ("binary.bin", b"\0\1\2\n\xff" + OWN.encode() + b"\xff"),
    ],
)
def test_a_key_of_the_user_is_found_in_every_encoding(place: Place, name: str, data: bytes) -> None:
    clone = place.clone()
    commit(clone, name, data)
    (found,) = found_in(clone)
    assert found.startswith(f"{name}:2 a ")


@pytest.mark.parametrize("before", ["\\n", "\\t", "\\r", "%3D", '"', "="])
@pytest.mark.parametrize("kind", [kind for kind in TOKENS if kind not in ("a Slack webhook", "a private key")])
def test_a_token_is_found_after_an_escape(before: str, kind: str) -> None:
    assert kind in [found for _, found, _ in _find_secrets(f"x{before}{TOKENS[kind]}".encode(), contains_no_key)]


def test_a_word_between_an_aws_key_and_its_secret_does_not_make_it_a_placeholder() -> None:
    text = TOKENS["an AWS key with its secret"].replace("secret =", "for your sample secret =")
    assert kinds_in(text) == ["an AWS key with its secret"]


def test_an_aws_key_is_found_before_or_after_its_secret() -> None:
    key, secret = PAIR
    before, after = f"id = {key}\nsecret = {secret}\n", f"secret = {secret}\nid = {key}\n"
    assert tokens_in(before) == tokens_in(after) == ["".join(PAIR).encode()]
    example = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert tokens_in(f"# secret = {example}\n{before}") == tokens_in(before)


@pytest.mark.parametrize("sign", ["# ", "#", "// ", "/// ", "> ", ">> ", "> > ", "* ", " * "])
@pytest.mark.parametrize("kind", ["a private key", "a PuTTY private key"])
def test_a_private_key_is_found_in_comments_and_quotations(kind: str, sign: str) -> None:
    quoted = "".join(f"{sign}{line}\n" for line in TOKENS[kind].splitlines())
    assert kinds_in(quoted) == [kind]
    assert tokens_in(quoted) == tokens_in(TOKENS[kind])


def test_a_private_key_in_a_comment_is_found_after_its_headers() -> None:
    begin, *rest = TOKENS["a private key"].splitlines()
    lines = [begin, "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,01", "", *rest]
    assert kinds_in("".join(f"# {line}\n" for line in lines)) == ["a private key"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (HOOKS + "triggers/E" + some(10, UPPER) + "/" + some(13, "3456789") + "/" + some(32, HEX), "a Slack webhook"),
        (
            HOOKS + "workflows/T" + some(8) + "/A" + some(10, UPPER) + "/" + some(18, "3456789") + "/" + some(24),
            "a Slack webhook",
        ),
        ("ya2" + "9.d." + some(200), "a Google access token"),
        ("ATC" + "TT3" + some(180) + "=" + some(8, "3456789ABCDEF"), "an Atlassian token"),
        ("sb" + "p_oauth_" + some(40, HEX), "a Supabase token"),
        ("sb" + "p_v0_" + some(40, HEX), "a Supabase token"),
        ("da" + "pi" + some(32, HEX), "a Databricks token"),
    ],
)
def test_other_forms_of_a_kind_are_found(text: str, kind: str) -> None:
    assert kinds_in(text) == [kind]


def test_file_names_commit_messages_and_links_are_scanned(place: Place) -> None:
    clone = place.clone()
    token = TOKENS["a GitHub token"]
    (clone.root / "link").symlink_to(token)
    commit(clone, token, "x", subject=f"Use {token}")
    assert sorted(found_in(clone)) == sorted(
        [
            "link:1 a GitHub token",
            f"{token}:0 a GitHub token, in the file name",
            "the commit message:1 a GitHub token",
        ]
    )


def test_a_secret_that_was_added_and_removed_again_is_found_in_the_history(place: Place) -> None:
    clone = place.clone()
    commit(clone, "a.txt", f"one\n{OWN}\n")
    commit(clone, "a.txt", "one\ntwo\n")
    assert found_in(clone) == ["a.txt:2 a key of yours"]


@pytest.mark.parametrize(
    "text",
    [
        "sk-ant-" + "api03-" + 40 * "x",
        "AKIA" + "IOSFODNN7EXAMPLE\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AKIA" + some(16, string.ascii_uppercase),
        "ghp_" + 36 * "0",
        "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
        "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END",
        "# -----BEGIN " + "PRIVATE KEY-----\n# ...\n# -----END",
        "// -----BEGIN " + "PRIVATE KEY-----\n" + 90 * "/" + "\n// Begins and ends a key, as OpenSSL writes it",
        "// -----BEGIN " + "PRIVATE KEY-----\n// " + 60 * "=" + "\n// Begins and ends a key, as OpenSSL writes it",
        putty(48 * "A"),
        "AI" + "za" + "YourKeyGoesHere" + some(20),
        "risk-" + some(32, HEX),
        "AK" + "IA" + some(16, string.ascii_uppercase) + " at " + some(40, HEX),
        "At " + some(40, HEX) + " and " + some(40, HEX.upper()) + ": AK" + "IA" + some(16, string.ascii_uppercase),
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\nAKIA" + "IOSFODNN7EXAMPLE",
        "Account" + "Key=" + "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        "Account" + "Key=" + "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==",
        "sb_" + "secret_" + "N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz",
        "da" + "pi1234567890ab1cde2f3ab456c7d89efa",
        HOOKS + "triggers/T0123456789/3141592653589/c6e6c0d868b3054ca0f4611a5dbadaf",
        HOOKS + "services/T00000000/B00000000/" + 24 * "X",
        "ya2" + "9.a0AfH6SMB...",
        some(64, HEX),
        "integrity sha512-" + some(86),
    ],
)
def test_text_that_is_not_a_secret_passes(place: Place, text: str) -> None:
    clone = place.clone()
    commit(clone, "new.txt", f"{text}\n")
    assert found_in(clone) == []


def test_existing_lines_pass(place: Place) -> None:
    place.write("a.txt", f"one\n{OWN}\n{TOKENS['a GitHub token']}\n")
    place.commit()
    clone = place.clone()
    commit(clone, "a.txt", f"zero\none\n{OWN}\n{TOKENS['a GitHub token']}\nfour\n")
    assert found_in(clone) == []


SECRETS = {**TOKENS, "a key of yours": OWN}


def test_a_moved_or_reformatted_secret_is_not_new(place: Place) -> None:
    """Each kind has a folder of its own, so that a finding names it."""
    for kind, value in SECRETS.items():
        for name in ("copied.txt", "moved.txt", "spaced.txt", "cut.txt"):
            place.write(f"{kind}/{name}", f"first\n{value}\nlast\n")
    place.commit()
    clone = place.clone()
    for kind, value in SECRETS.items():
        folder, body = clone.root / kind, f"first\n{value}\nlast\n"
        (folder / "t").mkdir()
        (folder / "t/copied.txt").write_text(body)
        (folder / "moved.txt").rename(folder / "t/moved.txt")
        (folder / "spaced.txt").write_text("".join(f"    {line}  \n" for line in f"zero\n{body}".splitlines()))
        (folder / "cut.txt").unlink()
        (folder / "t/pasted.txt").write_text(f'["{value}"]\n')
    commit(clone, "new.txt", "new\n")
    assert found_in(clone) == []


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (TOKENS["a GitHub token"], "gh" + "p_" + some(36), "a GitHub token"),
        (OWN, OTHER, "a key of yours"),
        (base64.b64encode(OWN.encode()).decode(), base64.b64encode(OTHER.encode()).decode(), "a key of yours"),
        (
            TOKENS["a private key"],
            TOKENS["a private key"].replace(TOKENS["a private key"].split("\n")[2], some(64)),
            "a private key",
        ),
        (
            TOKENS["an AWS key with its secret"],
            TOKENS["an AWS key with its secret"][:-40] + some(40),
            "an AWS key with its secret",
        ),
    ],
)
def test_a_secret_that_replaces_another_is_new(place: Place, before: str, after: str, kind: str) -> None:
    place.write("a.txt", f"key = {before}\n")
    place.commit()
    clone = place.clone()
    (clone.root / "a.txt").unlink()
    commit(clone, "b.txt", f"{before}\nkey = {after}\n")
    assert [entry.partition(" ")[2] for entry in found_in(clone)] == [kind]


def test_every_line_with_a_key_is_reported_even_among_very_many(place: Place) -> None:
    place.write("a.txt", f"{OWN}\n")
    place.commit()
    clone = place.clone()
    commit(clone, "a.txt", f"{OTHER}\n{OWN}\nx {OTHER}\n")
    commit(clone, "b.txt", "x\n")
    assert found_in(clone) == ["a.txt:1 a key of yours", "a.txt:3 a key of yours"]
    commit(clone, "a.txt", 200 * f"{OWN}\n" + f"{OTHER}\n")
    assert "a.txt:101 a key of yours" in found_in(clone)


def test_an_existing_file_name_passes(place: Place) -> None:
    name = TOKENS["a GitHub token"]
    place.write(f"{name}.txt", "one\n")
    place.write(f"{name}.md", "one\n")
    place.commit()
    clone = place.clone()
    (clone.root / f"{name}.md").rename(clone.root / f"moved-{name}.md".replace("-", "."))
    commit(clone, f"{name}.txt", "two\n")
    assert found_in(clone) == []


@pytest.mark.parametrize("name", ["moved", "copied"])
def test_an_existing_large_file_is_not_scanned(place: Place, name: str) -> None:
    path = place.write("big", "")
    os.truncate(path, 33 * 1024 * 1024)
    place.commit()
    clone = place.clone()
    (clone.root / name).write_bytes(b"")
    os.truncate(clone.root / name, 33 * 1024 * 1024)
    if name == "moved":
        (clone.root / "big").unlink()
    commit(clone, "small", "x")
    assert found_in(clone) == []


def test_a_secret_in_uncommitted_files_stops_publishing_and_is_called_the_users(place: Place) -> None:
    place.write("a.txt", f"committed: {OWN}\n")
    place.commit()
    place.write(".env", f"TOKEN={TOKENS['a GitHub token']}\n")
    clone = place.clone(include_dirty=True)
    commit(clone, "new.txt", "new\n")
    with pytest.raises(SecretsFound, match=r"\.env:1 .*: a GitHub token \(in your own uncommitted files\)$") as caught:
        clone.publish(place.folder / "p")
    assert "git ignore it" in caught.value.hint
    assert place.git("branch", "--list", "autoroute/*") == ""
    accepted = PrivateClone(clone._repository, clone.folder, "r1", base=clone.base, accept_secrets=True)
    assert accepted.publish(place.folder / "p").commits == 1
    commit(clone, "more.txt", "more\n")
    assert clone.publish(place.folder / "p").commits == 2, "an accepted secret is not reported again"


def test_uncommitted_files_are_scanned_in_a_repository_without_commits(place: Place) -> None:
    place.root = place.folder / "empty"
    place.root.mkdir()
    place.git("init", "--quiet")
    place.write(".env", f"TOKEN={TOKENS['a GitHub token']}\n")
    clone = place.clone(include_dirty=True)
    commit(clone, "new.txt", "new\n")
    with pytest.raises(SecretsFound, match="your own uncommitted files"):
        clone.publish(place.folder / "p")


def test_a_secret_that_only_moves_or_changes_whitespace_passes(place: Place) -> None:
    old = {kind: f"key = {value}\nown = {OWN}\n" for kind, value in TOKENS.items()}
    for kind, text in old.items():
        place.write(f"{kind}/key.txt", text)
    place.commit()
    clone = place.clone()

    def move(change: Callable[[str], str]) -> list[str]:
        for kind, text in old.items():
            (clone.root / kind / "key.txt").unlink(missing_ok=True)
            (clone.root / kind / "moved.txt").write_text(change(text))
        commit(clone, "new.txt", "new\n")
        return found_in(clone)

    assert move(str) == []
    assert move(lambda text: text.replace(" = ", "  =  ").replace(f"own  =  {OWN}", f"own = {OWN}")) == []
    added = move(lambda text: f"{text}another = {some(40)}\nsk-ant-api03-{some(80)}\n")
    assert sorted(line.partition("/")[0] for line in added) == sorted(old)


def test_a_file_too_large_to_scan_is_reported(place: Place) -> None:
    clone = place.clone()
    (clone.root / "big").touch()
    with (clone.root / "big").open("r+b") as file:
        file.truncate(33 * 1024 * 1024)
    commit(clone, "small", "x")
    assert found_in(clone) == ["big:0 33 MiB, too large to scan for secrets"]


def test_a_tree_is_scanned_before_it_is_committed(place: Place) -> None:
    clone = place.clone()
    (clone.root / "new.txt").write_text(f"{TOKENS['a GitHub token']}\n")
    assert list(clone.find_secrets(clone.snapshot())) == ["new.txt:1: a GitHub token"]
    (clone.root / "new.txt").write_text("fixed\n")
    assert list(clone.find_secrets(clone.snapshot())) == []


def test_this_repository_contains_no_finding() -> None:
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        pytest.skip("not in a checkout")
    git_dir = subprocess.run(
        ["git", "rev-parse", "--absolute-git-dir"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    git = own_git(Path(git_dir), root, {"PATH": "/usr/bin:/bin"})
    empty = git.text("hash-object", "-t", "tree", "/dev/null")
    assert scan_tree(git, empty, "HEAD", contains_no_key) == []
