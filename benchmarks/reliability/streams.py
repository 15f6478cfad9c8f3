"""Broken and hostile streams on every wire: does each end soon, in the right reply or in our own error?

python benchmarks/reliability/streams.py [STREAMS_A_WIRE] [SEED]

Half of the streams get harmless mutations (line endings, splits, BOM, pings, comments): the reply must be identical.
The others are mutated arbitrarily. Each goes through the codec, and a fifth of them also over a socket, with the same
outcome. Then come an endless line, endless pings, and silence. The control decodes the harmless streams as text, line
by line, which fails at U+2028 and other separators.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from autoroute.errors import ProviderError, Unreachable
from autoroute.messages import Message, Reply, Request, Text, ToolCall
from autoroute.routing import Clocks
from autoroute.wire import Model
from autoroute.wire.codec import Codec
from autoroute.wire.sse import EventDecoder
from tests.wire.raw_server import Answer, serve, start_stream
from tests.wire.speakers import SPEAKERS, Speaker, SpokenReply, model, profile, request

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
SAID = (
    SpokenReply(text=f'Hello{SEPARATORS}there, 漢字 😀 \\ " \x00 \ufeff end'),
    SpokenReply(
        thinking="Hm.", text="I look.", calls=(ToolCall("call_1", "read", json.dumps({"path": f"a{SEPARATORS}b"})),)
    ),
    SpokenReply(
        calls=(ToolCall("call_1", "read", '{"path": "a"}'), ToolCall("call_2", "grep", '{"pattern": "é"}')),
        stop="tools",
    ),
    SpokenReply(text="x" * 5_000, stop="length"),
)
TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b":",
    b"data:",
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"NaN",
    b'"\\ud800"',
    b"[" * 300,
    b"data: [DONE]\n\n",
    b"event: error\ndata: {}\n\n",
    b'data: {"error":null}\n\n',
    b'data: {"type":"error","error":"x"}\n\n',
    b": ping\n\n",
    b'event: ping\ndata: {"type":"ping"}\n\n',
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**17,
    1.5,
    -0.0,
    "",
    "x",
    "\ud800",
    "\u2028",
    [],
    [None],
    [[[]]],
    {},
    {"": {}},
    {"type": 1},
    [{}],
    "null",
    "{}",
)
ASKED = request(Message("user", (Text("Go."),)))
LIMIT = 5.0
"""Seconds that a stream may take; the clocks below cut silence sooner."""
MEMORY = 64 * 1024 * 1024
SHORT = Clocks(connect=5, first_byte=1, idle=0.5, turn=4)
Outcome = tuple[str, object]


def harmless(source: random.Random, events: list[bytes]) -> bytes:
    """Return the same stream as another server might write it."""
    pieces = [b"\xef\xbb\xbf"] if source.random() < 0.3 else []
    for event in events:
        if source.random() < 0.3:
            pieces.append(source.choice((b": ping\n\n", b":\n", b"id: 7\nretry: 10\n\n", b"\n\n", b"unknown: x\n")))
        pieces.append(event)
    return b"".join(pieces).replace(b"\n", source.choice((b"\n", b"\r\n", b"\r")))


def hostile(source: random.Random, events: list[bytes]) -> bytes:
    """Return the stream with one to four errors in it."""
    events = list(events)
    for _ in range(source.randint(0, 2)):
        place = source.randrange(len(events))
        match source.randrange(5):
            case 0:
                del events[place]
                events = events or [b"\n"]
            case 1:
                events.insert(source.randrange(len(events) + 1), events[place])
            case 2:
                events[place] = source.choice(TOKENS)
            case _:
                events[place] = with_another_value(source, events[place])
    data = bytearray(b"".join(events))
    for _ in range(source.randint(0, 2)):
        place = source.randrange(len(data) + 1)
        match source.randrange(5):
            case 0:
                data[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                data[place : place + source.randint(1, 80)] = b""
            case 2:
                data[place:place] = source.choice(TOKENS)
            case 3:
                del data[place:]
            case _:
                data[place:place] = data[place : place + source.randint(1, 400)]
    return bytes(data)


def with_another_value(source: random.Random, event: bytes) -> bytes:
    """Return the event with one value of its JSON replaced, or one name removed."""
    head, mark, text = event.rpartition(b"data: ")
    try:
        data = json.loads(text)
    except ValueError:
        return event
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key, inner in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            places.append((value, key))
            walk(inner)

    walk(data)
    if places:
        holder, key = source.choice(places)
        if source.random() < 0.2:
            del holder[key]
        else:
            holder[key] = source.choice(VALUES)
    return head + mark + json.dumps(data).encode() + b"\n\n"


def _inside(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def split(source: random.Random, data: bytes) -> Iterator[bytes]:
    """Yield the bytes in pieces, cut anywhere."""
    while data:
        size = source.choice((1, 2, 7, 100, 4_000, 100_000))
        yield data[:size]
        data = data[size:]


def decoded(codec: Codec, asked: Request, pieces: Iterator[bytes]) -> Outcome:
    """Decode a stream; return ``("reply", Reply)`` or the name of our error."""
    events, decoder = EventDecoder(), codec.decoder(asked)
    try:
        for piece in pieces:
            for event in events.feed(piece):
                decoder.feed(event)
        if not decoder.complete:
            raise Unreachable("cut off")
        return "reply", decoder.reply("")
    except ProviderError as error:
        return type(error).__name__, None


def asked_over_http(behind: Model, asked: Request) -> Outcome:
    """Decode a stream over a socket; return the same."""
    try:
        *_, reply = behind.ask(asked)
    except ProviderError as error:
        return type(error).__name__, None
    assert isinstance(reply, Reply)
    return "reply", reply


def decoded_as_text(data: bytes) -> bool:
    """Return whether the lines of the text, as most programs split them, still contain whole events (the control)."""
    try:
        for line in data.decode().splitlines():
            field, _, value = line.partition(":")
            if field == "data" and value.strip() not in ("", "[DONE]"):
                json.loads(value)
            elif field not in ("data", "event", "id", "retry", "unknown", "", "\ufeff"):
                return False
    except ValueError:
        return False
    return True


def endless(piece: bytes) -> Answer:
    """Send ``piece`` until the client disconnects."""

    def answer(client: socket.socket) -> bool:
        start_stream(client)
        with suppress(OSError):
            end = time.monotonic() + 30
            while time.monotonic() < end:
                client.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        return False

    return answer


def silent(client: socket.socket) -> bool:
    """Respond, and send nothing."""
    start_stream(client)
    with suppress(OSError):
        client.recv(1)
    return False


def one_of_each(source: random.Random, speaker: Speaker, count: int) -> Iterator[tuple[bool, SpokenReply, bytes]]:
    """Return whether the stream is harmless, its reply, and its bytes."""
    for number in range(count):
        said = source.choice(SAID)
        events = speaker.events(said)
        yield number % 2 == 0, said, (harmless if number % 2 == 0 else hostile)(source, events)


class Bench:
    """The counts, wire by wire."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.source = count, random.Random(seed)
        self.broken: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.control = self.harmless = self.over_http = 0
        self.slowest = 0.0

    def check(self, promise: bool, words: str) -> None:
        """Note a broken promise."""
        if not promise:
            self.broken.append(words)

    def timed(self, words: str, deed: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of a stream; an exception that is not ours is a broken promise."""
        began = time.monotonic()
        try:
            outcome = deed()
        except Exception as error:  # noqa: BLE001 - what is looked for
            self.broken.append(f"{words}: {type(error).__name__}: {error}")
            return "traceback", None
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.check(time.monotonic() - began < LIMIT, f"{words}: took {time.monotonic() - began:.1f} s")
        return outcome

    def play(self, wire: str, speaker: Speaker) -> None:
        """Play all streams of a wire."""
        codec = speaker.codec(profile(wire))
        right = {said: decoded(codec, ASKED, iter([b"".join(speaker.events(said))])) for said in SAID}
        over_http: list[tuple[str, bytes, Outcome]] = []
        for number, (same, said, data) in enumerate(one_of_each(self.source, speaker, self.count)):
            words = f"{wire} {number} {data[:200]!r}" if not same else f"{wire} {number} harmless"
            pieces = list(split(self.source, data))
            outcome = self.timed(words, lambda: decoded(codec, ASKED, iter(pieces)))  # noqa: B023 - called at once
            self.outcomes[outcome[0]] += 1
            if same:
                self.harmless += 1
                self.control += not decoded_as_text(data)
                self.check(outcome == right[said], f"{words}: another reply")
            if number % 10 < 2:
                over_http.append((words, data, outcome))
        self.play_over_http(wire, over_http)

    def play_over_http(self, wire: str, streams: list[tuple[str, bytes, Outcome]]) -> None:
        """Play a part of the streams through the transport, and the endless ones."""

        def sender(data: bytes) -> Answer:
            def answer(client: socket.socket) -> bool:
                start_stream(client)
                for piece in split(random.Random(1), data):
                    client.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                client.sendall(b"0\r\n\r\n")
                return True

            return answer

        with serve(*(sender(data) for _, data, _ in streams)) as server:
            behind = model(wire, server.url)
            for words, _, expected in streams:
                outcome = self.timed(f"{words} over HTTP", lambda: asked_over_http(behind, ASKED))
                self.check(outcome == expected, f"{words} over HTTP: {outcome[0]}, and {expected[0]} without")
                self.over_http += 1
            behind.close()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, answer in {
            "a line without an end": endless(b"data: " + b"x" * 65_536),
            "pings without an end": endless(b": ping\n\n" * 1_000),
            "events of pings": endless(b'event: ping\ndata: {"type":"ping"}\n\n' * 100),
            "silence": silent,
        }.items():
            with serve(answer) as server:
                behind = model(wire, server.url, SHORT)
                ask = lambda: asked_over_http(behind, ASKED)  # noqa: B023, E731 - called at once
                outcome = self.timed(f"{wire} {name}", ask)
                self.check(outcome[0] in ("BadReply", "Unreachable"), f"{wire} {name}: {outcome[0]}")
                behind.close()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        self.check(grown < MEMORY, f"{wire}: {grown >> 20} MiB more memory")


def main(count: int, seed: int) -> int:
    """Play the streams of all wires; return the exit code."""
    bench, began = Bench(count, seed), time.monotonic()
    for wire, speaker in SPEAKERS.items():
        bench.play(wire, speaker)
    total = count * len(SPEAKERS)
    http = f"{bench.over_http} of them over HTTP too, 12 without an end"
    print(f"seed {seed}: {total} streams on {len(SPEAKERS)} wires, {http}")
    print(f"outcomes: {', '.join(f'{name} {number}' for name, number in bench.outcomes.most_common())}")
    print(f"control: text decoding breaks {bench.control} of {bench.harmless} harmless streams; ours reads all alike")
    print(f"slowest {bench.slowest:.2f} s; broken promises: {len(bench.broken)}; {time.monotonic() - began:.1f} s")
    for words in bench.broken[:10]:
        print(f"  {words[:400]}")
    return 1 if bench.broken or not bench.control else 0


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [2_000, 1][len(given) :])))
