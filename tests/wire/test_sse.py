from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoroute.errors import BadReply
from autoroute.wire.sse import Event, EventDecoder, StreamLimits


def decode(*chunks: bytes, limits: StreamLimits | None = None) -> list[Event]:
    decoder = EventDecoder(limits or StreamLimits())
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("", "a")]),
        (b"data:a\r\n\r\n", [Event("", "a")]),
        (b"data:  a\r\r", [Event("", " a")]),
        (b"event: x\ndata: a\ndata: b\n\n", [Event("x", "a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("", "a")]),
        (b": ping\n\ndata: a\n\n", [Event("", "a")]),
        (b"id: 1\nretry: 5\nwhat\nfoo: bar\ndata: a\n\n", [Event("", "a")]),
        (b"event: x\n\ndata: a\n\n", [Event("", "a")]),
        (b"data\n\ndata:\n\n", []),
        (b"data: a\n\ndata: cut off\n", [Event("", "a")]),
        ("data: \u2028\u2029\x85\x0b\x0c\n\n".encode(), [Event("", "\u2028\u2029\x85\x0b\x0c")]),
        (b"data: a\x00b\n\n", [Event("", "a\x00b")]),
    ],
)
def test_streams_are_decoded_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert decode(stream) == events
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == events


LINE = st.sampled_from(
    ["data: a", "data:\u2028\U0001f600", "data", "event: x", ": c", "", "", "\ufeffdata: b", "id: 1", "data: {"]
)
END = st.sampled_from(["\n", "\r", "\r\n"])


@given(st.lists(st.tuples(LINE, END)), st.lists(st.integers(0, 200)))
def test_a_stream_may_be_split_anywhere(lines: list[tuple[str, str]], cuts: list[int]) -> None:
    stream = "".join(line + end for line, end in lines).encode()
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(at)]
    assert decode(*chunks) == decode(stream)


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (b"data: " + b"x" * 100, "line"),
        (b"data: xxxxxxxx\n" * 8, "event"),
        (b": ping\n\n" * 100, "stream"),
    ],
)
def test_every_size_is_bounded(stream: bytes, what: str) -> None:
    limits = StreamLimits(line_bytes=50, event_bytes=60, total_bytes=300)
    with pytest.raises(BadReply, match=f"a {what} of more than"):
        decode(*(stream[at : at + 7] for at in range(0, len(stream), 7)), limits=limits)


def test_a_long_line_in_small_pieces_takes_linear_time() -> None:
    piece = b"x" * 1000
    assert decode(b"data: ", *[piece] * 3000, b"\n\n") == [Event("", "x" * 3_000_000)]


def test_invalid_utf_8_is_rejected() -> None:
    with pytest.raises(BadReply, match="UTF-8"):
        decode(b"data: \xff\n\n")
