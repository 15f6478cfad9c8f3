"""Redaction: keys are found in every form that a program may write, and ordinary text stays the same."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import pickle
import random
import string
import textwrap
import time
from collections.abc import Callable, Generator
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoroute.engine.replay import apply_each
from autoroute.events import ArtifactAccepted, Event, PromptSent, ToolEnded, TurnEnded, TurnStarted
from autoroute.messages import Message, Reply, Stop, Text, Thinking, ToolCall, Usage
from autoroute.redaction import Redactor, redact_value
from autoroute.routing import Phase, Route
from autoroute.state import RunState
from tests.store.examples import RUN

KEYS = [
    "sk-ant-api03-Zq8vN1xR5tB7wK3mJ9pL2sD4fG6hY0cVbQ_aW-eR8tUoPiAsDfGhJkLzXcVbNm1234567890-AbCdEfGhIjKlMnOpAA",
    "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "9f8e7d6c5b4a39281706f5e4d3c2b1a0.kLmNoPqRsTuVwXyZ",
    'odd/key+with="punctuation"\\&%<>',
    "eight888",
    "gsk_" + "Wq3Zr8Tn5Lb1Vc7Xk9Jm2Hd4Gf6Ps0Ya" + "Eu",
]


def encoded(encode: Callable[[bytes], bytes], before: int, key: str) -> str:
    return encode(b"\xfe" * before + key.encode()).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "reversed": lambda key: key[::-1],
    "hexadecimal": lambda key: key.encode().hex(),
    "upper hexadecimal": lambda key: key.encode().hex().upper(),
    "a hex dump": lambda key: key.encode().hex(" "),
    "a fingerprint": lambda key: key.encode().hex(":"),
    **{f"base64 after {before} bytes": partial(encoded, base64.b64encode, before) for before in range(4)},
    **{
        f"url-safe base64 after {before} bytes": partial(encoded, base64.urlsafe_b64encode, before)
        for before in range(4)
    },
    "base64 with more behind it": lambda key: base64.b64encode(b"key=" + key.encode() + b"\nmore\n").decode(),
    "wrapped base64": lambda key: base64.encodebytes(b"x" * 50 + key.encode()).decode(),
    "base64 in a YAML block": lambda key: textwrap.indent(
        base64.encodebytes(b"x" * 50 + key.encode()).decode(), " " * 6
    ),
    "base64 in a diff": lambda key: textwrap.indent(base64.encodebytes(b"x" * 50 + key.encode()).decode(), "+"),
    "base64 without padding": lambda key: base64.b64encode(key.encode()).decode().rstrip("="),
    "a URL": lambda key: quote(key, safe=""),
    "a URL, all of it": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "a URL in a URL": lambda key: quote("".join(f"%{ord(letter):02X}" for letter in key)),
    "JSON": json.dumps,
    "JSON, all of it": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)),
    "JSON, all of it, in JSON": lambda key: json.dumps("".join(f"\\u{ord(letter):04X}" for letter in key)),
    "JSON with some letters escaped": lambda key: "".join(
        f"\\u{ord(letter):04x}" if number % 5 == 3 else json.dumps(letter)[1:-1] for number, letter in enumerate(key)
    ),
    "JSON with slashes escaped": lambda key: json.dumps(key).replace("/", "\\/"),
    "C": lambda key: "".join(f"\\x{ord(letter):02x}" for letter in key),
    "HTML": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "HTML in hexadecimal": lambda key: "".join(f"&#x{ord(letter):X};" for letter in key),
    "HTML with zeros": lambda key: "".join(f"&#{ord(letter):04};" for letter in key),
    "HTML in hexadecimal with zeros": lambda key: "".join(f"&#x{ord(letter):04x};" for letter in key),
    "Python": lambda key: "".join(f"\\U{ord(letter):08x}" for letter in key),
    "JavaScript": lambda key: "".join(f"\\u{{{ord(letter):x}}}" for letter in key),
    "octal": lambda key: "".join(f"\\{ord(letter):03o}" for letter in key),
    "an array of C": lambda key: ", ".join(f"0x{ord(letter):02x}" for letter in key),
    "an array of C without spaces": lambda key: ",".join(f"0x{ord(letter):02X}" for letter in key),
    "Markdown": lambda key: "".join("\\" + letter if letter in "_*-.<" else letter for letter in key),
    "shell": lambda key: "".join(letter if letter.isalnum() else "\\" + letter for letter in key),
}


RARE_FORMS: dict[str, Callable[[str], str]] = {
    "UTF-16": lambda key: key.encode("utf-16-le").decode("latin-1"),
    "UTF-16, big-endian": lambda key: key.encode("utf-16-be").decode("latin-1"),
    "UTF-32": lambda key: key.encode("utf-32-le").decode("latin-1"),
    **{
        f"base64 of {code} after {before} bytes": lambda key, code=code, before=before: base64.b64encode(  # type: ignore[misc]
            b"\xfe" * before + key.encode(code)
        ).decode()
        for code in ("utf-16-le", "utf-16-be")
        for before in range(3)
    },
    **{f"base32 after {before} bytes": partial(encoded, base64.b32encode, before) for before in range(6)},
    "base32 without padding": lambda key: base64.b32encode(key.encode()).decode().rstrip("="),
    "wrapped base32": lambda key: textwrap.fill(base64.b32encode(key.encode()).decode(), 40),
    "rot13": lambda key: codecs.encode(key, "rot13"),
    "rot47": lambda key: "".join(chr(33 + (ord(letter) - 33 + 47) % 94) for letter in key),
    "reversed hexadecimal": lambda key: key.encode().hex()[::-1],
    "hexadecimal of the reversed": lambda key: key[::-1].encode().hex(),
    "one letter a line": "\n".join,
    "letters with spaces": " ".join,
    "letters with dots": ".".join,
    "letters with spaces that show nothing": "\u200b".join,
    "letters that are added": lambda key: " + ".join(f"'{letter}'" for letter in key),
    "a list of letters": lambda key: json.dumps(list(key)),
    "a list of numbers": lambda key: json.dumps(list(key.encode())),
    "numbers without spaces": lambda key: ",".join(map(str, key.encode())),
    "numbers on lines": lambda key: "\n".join(map(str, key.encode())),
    "chr()": lambda key: "+".join(f"chr({byte})" for byte in key.encode()),
    "octal numbers": lambda key: " ".join(f"{byte:03o}" for byte in key.encode()),
    "octal numbers of Python": lambda key: ", ".join(f"0o{byte:o}" for byte in key.encode()),
    "binary": lambda key: "".join(f"{byte:08b}" for byte in key.encode()),
    "binary with spaces": lambda key: " ".join(f"{byte:08b}" for byte in key.encode()),
}
"""Forms that are looked for in commits alone."""

NOT_MEANT: dict[str, Callable[[str], str]] = {
    "compressed": lambda key: base64.b64encode(gzip.compress(key.encode())).decode(),
    "encrypted": lambda key: "".join(chr(ord(letter) ^ 7) for letter in key),
    "base64 twice": lambda key: base64.b64encode(base64.b64encode(b"x" + key.encode())).decode(),
    "base85": lambda key: base64.b85encode(key.encode()).decode(),
    "cut in two": lambda key: f"{key[:4]} and then {key[4:]}",
    "in another order": lambda key: key[1::2] + key[::2],
    "in the other case": str.swapcase,
}

COMMITS = Redactor(KEYS)

HOSTILE = [
    *("0000000000001b", "b1000000000000", "a1a1a1a1a1a1", "a1a1a1a1a1a1a1a1a1a2"),
    *("613161316131613161316131", "YTFhMWExYTFhMWEx"),
    *("\\\\x5c\\&#92;%5c\\", 'odd/key+with="punctuation"\\&%<>'),
]
"""Each can begin inside itself, inside another key, or inside a form of another key."""
HOSTILE_REDACTOR = Redactor(HOSTILE)

SPELLINGS: list[Callable[[str], str]] = [
    *(str, lambda letter: f"%{ord(letter):02X}", lambda letter: f"%25{ord(letter):02x}"),
    *(lambda letter: "\\" + letter, lambda letter: "\\" * 8 + letter, lambda letter: "\\" * 3 + f"{ord(letter):03o}"),
    *(lambda letter: f"\\u{ord(letter):04x}", lambda letter: "\\" * 8 + f"U{ord(letter):08X}"),
    *(lambda letter: f"&#{ord(letter):07};", lambda letter: f"&#x{ord(letter):x};"),
]


def texts_of_keys() -> st.SearchStrategy[str]:
    """Texts of forms of keys: whole, truncated, interrupted by other text, and with each letter spelled differently."""
    key = st.sampled_from(HOSTILE)
    letters = key.flatmap(lambda key: st.tuples(*(st.sampled_from(spellings(letter)) for letter in key)))
    form = st.builds(lambda write, key: write(key), st.sampled_from([*FORMS.values()]), key) | letters.map("".join)
    cut = st.builds(lambda form, start, end: form[start:end], form, st.integers(0, 12), st.integers(-12, -1))
    filler = st.sampled_from(["\n", "\\n", "\r\n+  ", "\\" * 7, "%", "%25", "&#", "&#0", "0", "a1", "x", " ", "=", "é"])
    inner = form | cut | filler
    split = st.builds(lambda form, at, inner: form[:at] + inner + form[at:], form, st.integers(1, 60), inner)
    return st.lists(inner | split, max_size=12).map("".join)


def spellings(letter: str) -> list[str]:
    return [write(letter) for write in SPELLINGS]


def pieces_of(key: str, text: str) -> list[str]:
    """Return the pieces of eight characters of a key that the text contains."""
    return [key[at : at + 8] for at in range(len(key) - 7) if key[at : at + 8] in text]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_key_is_redacted(key: str, form: str) -> None:
    redactor, written = Redactor(KEYS), FORMS[form](key)
    text = f"before\n{written}\nafter"
    assert redactor.contains_key(text)
    redacted = redactor.redact(text)
    assert redacted.startswith("before\n")
    assert "[redacted]" in redacted
    assert redacted.endswith("\nafter")
    assert len(text) - len(redacted.replace("[redacted]", "")) >= len(key)


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("form", [*FORMS, *RARE_FORMS])
def test_every_form_of_a_key_stops_a_commit(key: str, form: str) -> None:
    text = f"text {(FORMS | RARE_FORMS)[form](key)} more"
    assert COMMITS.contains_key(text)
    assert not Redactor(["another-key-0123456789"]).contains_key(text)


@pytest.mark.parametrize("form", NOT_MEANT)
def test_what_is_not_meant_is_not_found(form: str) -> None:
    assert not COMMITS.contains_key(NOT_MEANT[form](KEYS[0]))


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_split_anywhere_is_redacted_like_the_whole_text(form: str) -> None:
    data = f"begin\n{FORMS[form](KEYS[0])} and {FORMS[form](KEYS[1])}\nend\n".encode()
    whole = Redactor(KEYS).redact_bytes(data)
    chance = random.Random(form)
    for _ in range(20):
        cuts = sorted(chance.sample(range(1, len(data)), 6))
        stream = Redactor(KEYS).stream()
        pieces = [stream.feed(data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert b"".join([*pieces, stream.close()]) == whole


@given(text=texts_of_keys())
@example(text="0" * 40 + "1b1" + "0" * 12 + "1b")
@example(text="a1" * 20 + "a2")
@example(text=HOSTILE[-1][:-1] + "\\" * 9 + HOSTILE[-1])
@example(text="\n".join(base64.b64encode(HOSTILE[0].encode()).decode()))
def test_searching_at_prefixes_finds_the_same_as_searching_everywhere(text: str) -> None:
    complete = HOSTILE_REDACTOR._current().complete
    redacted = complete.sub(lambda found: "[redacted]" + "\n" * found[0].count("\n"), text)
    assert HOSTILE_REDACTOR.redact(text) == redacted
    everywhere = HOSTILE_REDACTOR._current(rare=True).complete.search(text)
    assert HOSTILE_REDACTOR.contains_key(text) == (everywhere is not None)


def test_a_stream_passes_on_bytes_that_cannot_begin_a_key() -> None:
    stream = Redactor(KEYS).stream()
    data = b"nothing here\n" * 10_000
    assert len(stream.feed(data)) > len(data) - 2_500
    assert Redactor().stream().feed(data) == data


def test_text_without_a_key_is_the_same_object() -> None:
    text = "a line of text, the word sk-ant-api03-, 50% of it and C:\\x\\u0041 &#65;\n" * 50
    assert Redactor(KEYS).redact(text) is text
    assert not Redactor(KEYS).contains_key(text)
    assert Redactor().redact(KEYS[0]) == KEYS[0]
    assert Redactor(KEYS).redact_bytes(data := b"\xff\x00 nothing") is data


@pytest.mark.parametrize(
    "value",
    [
        *("", "test", "seven77", "two words of it", "ключ-от-двери", "line\nbreak-in-it"),
        *("not-needed", "lm-studio", "sk-no-key-required", "placeholder", "NOT_NEEDED"),
    ],
)
def test_values_that_cannot_be_keys_are_ignored(value: str) -> None:
    assert not Redactor([value]).contains_key(f"x {value} y")


def test_a_redactor_learns_while_it_is_in_use() -> None:
    redactor = Redactor()
    redact = redactor.redact
    assert redact(KEYS[1]) == KEYS[1]
    redactor.learn([KEYS[1]])
    assert redact(f"<{KEYS[1]}>") == "<[redacted]>"


def test_an_exempt_name_is_not_redacted_even_if_it_is_given_as_a_key() -> None:
    redactor = Redactor(["lm-studio", KEYS[1]])
    redactor.exempt(["lm-studio"])
    redactor.learn(["lm-studio"])
    assert redactor.redact(f"lm-studio {KEYS[1]}") == "lm-studio [redacted]"


def test_a_redactor_shows_no_key_and_cannot_be_pickled() -> None:
    redactor = Redactor(KEYS)
    assert not any(pieces_of(key, f"{redactor!r} {redactor} {redactor.__dict__.keys()}") for key in KEYS)
    with pytest.raises(TypeError):
        pickle.dumps(redactor)


def test_a_text_made_of_prefixes_takes_linear_time() -> None:
    def seconds(length: int) -> float:
        redactor = Redactor(KEYS)
        text = (KEYS[0][:-1] + "\\" * 9) * (length // 100)
        redactor.contains_key(text[:500])
        start = time.process_time()
        assert not redactor.contains_key(text)
        return time.process_time() - start

    assert seconds(400_000) < 40 * max(seconds(40_000), 0.001)


def test_random_text_is_not_redacted() -> None:
    chance = random.Random(6)
    letters = string.ascii_letters + string.digits + "+/=-_%\\\n"
    text = "".join(chance.choices(letters, k=200_000))
    assert Redactor(KEYS[:3]).redact(text) is text
    assert not Redactor(KEYS[:3]).contains_key(text)


def test_an_event_without_a_key_is_the_same_object() -> None:
    redact = Redactor(KEYS).redact
    for event in RUN:
        assert redact_value(event, redact) is event


def test_a_key_is_redacted_at_any_depth_of_an_event() -> None:
    key, redact = KEYS[1], Redactor(KEYS).redact
    signed = Thinking(f"hm {key}", "zai", "glm-4.7", opaque='{"signature":"x"}')
    unchanged = Thinking("hm", "zai", "glm-4.7", opaque='{"signature":"x"}')
    call = ToolCall("call-1", "write", json.dumps({"content": key}))
    message = Message("assistant", (signed, unchanged, Text(key[::-1]), call))
    redacted = redact_value(Reply(message, Stop.TOOLS, f"served-{key}", Usage(1, 2)), redact)
    assert redacted.message.parts == (
        Thinking("hm [redacted]", "zai", "glm-4.7"),
        unchanged,
        Text("[redacted]"),
        ToolCall("call-1", "write", '{"content": "[redacted]"}', altered=True),
    )
    assert redacted.message.parts[1] is unchanged
    assert (redacted.stop, redacted.served_model) == (Stop.TOOLS, "served-[redacted]")
    accepted = ArtifactAccepted(phase=Phase.SPEC, round=1, artifact="spec", content={"a": [{key: [1, key]}]})
    assert redact_value(accepted, redact).content == {"a": [{"[redacted]": [1, "[redacted]"]}]}


def test_a_conversation_contains_no_key() -> None:
    key, state = KEYS[1], RunState()
    route = Route(provider="zai", model="glm-4.7", requested="glm-4.7")
    call = ToolCall("call-1", "bash", json.dumps({"command": f"echo {key}"}))
    reply = Reply(Message("assistant", (Text(key), call)), Stop.TOOLS, "glm-4.7")

    def happen() -> Generator[Event, None, None]:
        yield PromptSent(phase=Phase.CODING, text=f"Do it with {key}", opens=True)
        yield TurnStarted(phase=Phase.CODING, turn=1, route=route, attempt=1)
        yield TurnEnded(phase=Phase.CODING, turn=1, route=route, reply=reply, seconds=1.0)
        yield ToolEnded(phase=Phase.CODING, turn=1, call="call-1", name="bash", text=key, is_error=False, seconds=1.0)

    *_, told = apply_each(happen(), state, Redactor(KEYS).redact)
    assert isinstance(told, ToolEnded)
    assert told.text == "[redacted]"
    conversation = state.conversation
    assert conversation is not None
    assert conversation.due is not None
    assert not Redactor(KEYS).contains_key(str((*conversation.messages, conversation.due)))
