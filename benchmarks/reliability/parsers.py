"""Arbitrary streams, arguments, settings, reset times and edits: do the parsers raise only our own errors?

python benchmarks/reliability/parsers.py [EXAMPLES_A_PARSER] [SEED]

Hypothesis makes the examples. Each parser has a control: how often the usual way of doing it fails.
"""

from __future__ import annotations

import codecs
import json
import math
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))

from autoroute.config.layers import check_layer, read_settings_file
from autoroute.config.settings import LayerSettings
from autoroute.config.task import read_task
from autoroute.errors import BadReply, ConfigError, TaskError
from autoroute.phases.artifacts import Plan
from autoroute.tools.arguments import read_arguments
from autoroute.tools.edit_match import find_exact, find_nearest_passage, find_tolerant
from autoroute.tools.text_file import decode_file
from autoroute.tools.tool import ToolError
from autoroute.wire.reset_times import (
    find_reset_time,
    find_spent_limit,
    find_spent_plan,
    parse_reset_text,
    read_allowances,
    read_retry_after,
)
from autoroute.wire.sse import EventDecoder, StreamLimits
from tests.wire.test_reset_times import MONTH, NAMES, VALUES

BOUNDS = StreamLimits(line_bytes=200, event_bytes=300, total_bytes=2_000)
SSE_PIECES = st.sampled_from(
    [
        b"data:",
        b"data: ",
        b"event: x",
        b":",
        b"id",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xff",
    ]
)
STREAMS = st.lists(SSE_PIECES | st.binary(max_size=20) | st.just(b"x" * 210), max_size=40).map(b"".join)
JSON_BITS = st.sampled_from(
    [
        '{"',
        '"',
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "1e999",
        "NaN",
        "9" * 5_000,
        "\\ud800",
        "null",
        "path",
        "[" * 70,
        " ",
        "\ud800",
        "é",
    ]
)
NAMES_OF_ARGUMENTS = st.sampled_from(["summary", "subtasks", "verify", "id", "title", "files", "x"])
VALUES_OF_ARGUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES_OF_ARGUMENTS, inner, max_size=4),
    max_leaves=8,
)
ARGUMENTS = st.lists(JSON_BITS, max_size=15).map("".join) | VALUES_OF_ARGUMENTS.map(json.dumps)
TOML_KEYS = st.sampled_from(
    [
        "model",
        "usd",
        "phases.coding.model",
        "limits.turns",
        "a." * 40 + "a",
        '"x"',
        "'y'.z",
        "gates",
        "fallback",
        "é",
        "",
    ]
)
TOML_NUMBERS = st.sampled_from(
    ["1", "inf", "nan", "-1e999", "0x" + "f" * 40, "9" * 4_400, "1_0", "2020-01-01", "24:61:61"]
)
TOML_OTHERS = st.sampled_from(
    [
        "[" * 40,
        "[" * 40 + "]" * 40,
        "{a={b={}}}",
        "true",
        '"glm-4.7"',
        '"""a',
        "'''b'''",
        '"\\ud800"',
        "[1, [2]]",
        "\ud800",
        "",
    ]
)
TOML_HEADS = st.sampled_from(
    ["[phases.coding]", "[budget]", "[limits]", "[[a]]", "[providers.x.y]", "[claude]", "#", "]"]
)
TOML = st.lists(TOML_HEADS | st.builds("{} = {}".format, TOML_KEYS, TOML_NUMBERS | TOML_OTHERS), max_size=6).map(
    "\n".join
)
LINES = st.lists(st.sampled_from(["a", "  a", "\tb", "b ", "", "\x0c", "é", "\u2028", "a\r", "\x85"]), max_size=8)
ENDS = st.sampled_from(["\n", "\r\n"])
FILES = st.builds(lambda lines, end, last: end.join(lines) + (end if last else ""), LINES, ENDS, st.booleans())
ENCODINGS = st.sampled_from(
    [("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("latin-1", b""), ("utf-16-le", codecs.BOM_UTF16_LE)]
)


class Control:
    """A count of how often the usual way failed."""

    def __init__(self) -> None:
        self.wrong = 0

    def note(self, wrong: bool) -> None:
        """Count one more example."""
        self.wrong += wrong


def goes_wrong(deed: Callable[[], object], *expected: type[Exception]) -> bool:
    """Return whether an action raises an error that a caller would not expect."""
    try:
        deed()
    except expected:
        return False
    except (ValueError, RecursionError, OverflowError, TypeError, LookupError):
        return True
    return False


def told(deed: Callable[[], object], expected: type[Exception]) -> str:
    """Return the message of the expected error; "" if it is not raised."""
    try:
        deed()
    except expected as error:
        return str(error)
    return ""


def stream_property(control: Control) -> Any:
    """Prove that the same events or the same error come out, however the bytes are split."""

    @given(STREAMS, st.lists(st.integers(1, 30), min_size=1, max_size=5))
    def prove(data: bytes, sizes: list[int]) -> None:
        def decode(pieces: list[bytes]) -> object:
            decoder = EventDecoder(BOUNDS)
            try:
                return [event for piece in pieces for event in decoder.feed(piece)]
            except BadReply:
                return "refused"

        pieces: list[bytes] = []
        place = 0
        while place < len(data):
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(data[place : place + size])
            place += size
        assert decode([data]) == decode(pieces) == decode([bytes([byte]) for byte in data])
        control.note(goes_wrong(lambda: [piece.decode() for piece in pieces]))

    return prove


def argument_property(control: Control) -> Any:
    """Prove that a model's arguments are valid or rejected with a short message."""

    @given(ARGUMENTS)
    def prove(text: str) -> None:
        complaint = told(lambda: read_arguments(text, Plan), ToolError)
        assert len(complaint.encode("utf-8")) < 10_000
        control.note(goes_wrong(lambda: json.dumps(json.loads(text), allow_nan=False).encode(), json.JSONDecodeError))

    return prove


def settings_property(control: Control, folder: Path) -> Any:
    """Prove that settings files and front matter give a layer or our own error."""
    path = folder / "autoroute.toml"

    @given(TOML, st.booleans())
    def prove(text: str, trusted: bool) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        assert len(told(lambda: read_settings(path, trusted), ConfigError)) < 1_000
        path.write_bytes(f"+++\n{text}\n+++\nDo it.".encode("utf-8", "surrogatepass"))
        assert len(told(lambda: read_task(path.name, sys.stdin.buffer, folder, environ={}), TaskError)) < 1_000
        control.note(goes_wrong(lambda: plain_settings(text), tomllib.TOMLDecodeError))

    return prove


def read_settings(path: Path, trusted: bool) -> None:
    """Read a file as one layer of the settings."""
    layer = read_settings_file(path, "autoroute.toml", trusted=trusted, required=True)
    check_layer(layer, LayerSettings(), path.with_name("config.toml"))


def plain_settings(text: str) -> None:
    """Read settings the usual way, and write them as JSON."""
    json.dumps(tomllib.loads(text), allow_nan=False, default=str)


def reset_property(control: Control) -> Any:
    """Prove that any reset time of a provider is ignored or within a month."""

    @given(
        st.dictionaries(st.sampled_from(NAMES), VALUES),
        st.lists(VALUES, max_size=2),
        VALUES,
        st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)),
        st.floats(-14, 14),
    )
    def prove(headers: dict[str, str], fields: list[str], words: str, moment: datetime, hours: float) -> None:
        now = moment.replace(tzinfo=UTC)
        found = [
            read_retry_after(headers, now),
            parse_reset_text(words, now, utc_offset=hours),
            find_reset_time(
                headers,
                fields,
                words,
                now,
                limit=find_spent_limit(headers),
                plan=find_spent_plan(headers),
                utc_offset=hours,
            ),
            *(allowance.resets_at for allowance in read_allowances(headers, now)),
        ]
        assert all(at is None or now <= at <= now + MONTH for at in found)
        said = next(iter(headers.values()), words)
        control.note(goes_wrong(lambda: now + timedelta(seconds=float(said))) or not plausible(said))

    return prove


def plausible(said: str) -> bool:
    """Return whether a wait, read the usual way as seconds, is one that a program can sleep."""
    try:
        return 0 <= float(said) <= MONTH.total_seconds() and math.isfinite(float(said))
    except ValueError:
        return True


def edit_property(control: Control, folder: Path) -> Any:
    """Prove that an edit changes its passage and no byte around it, in every encoding and with all line endings."""
    path = folder / "edited"

    @given(FILES, LINES.map("\n".join), st.text("ab\n\r é", max_size=6), ENCODINGS)
    def prove(written: str, old: str, new: str, encoding: tuple[str, bytes]) -> None:
        try:
            data = encoding[1] + written.encode(encoding[0])
            document = decode_file(data, "a")
        except (UnicodeEncodeError, ToolError):
            return
        assert document.encode(document.text) == data
        if not old.strip():
            return
        exact = find_exact(document.text, old, new)
        for place in exact or find_tolerant(document.text, old, new):
            passage = document.text[place.start : place.end]
            assert passage == old if exact else passage.split() == old.split()
            before, after = document.text[: place.start], document.text[place.end :]
            try:
                edited = document.encode(before + place.replacement + after)
            except ToolError:
                continue
            assert edited.startswith(document.encode(before))
            assert edited.endswith(document.encode(after).removeprefix(document.mark))
        find_nearest_passage(document.text, old)
        path.write_bytes(data)
        path.write_text(path.read_text(encoding="utf-8", errors="replace"), encoding="utf-8")
        control.note(path.read_bytes() != data)

    return prove


def main(count: int, number: int) -> int:
    """Test all parsers; return the exit code."""
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        properties: dict[str, Callable[[Control], Any]] = {
            "event streams": stream_property,
            "arguments": argument_property,
            "settings and front matter": lambda control: settings_property(control, folder),
            "ends of limits": reset_property,
            "edits": lambda control: edit_property(control, folder),
        }
        print(f"seed {number}, {count} examples a parser")
        for title, make in properties.items():
            control, began = Control(), time.monotonic()
            prove = make(control)
            bounded = settings(
                max_examples=count,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            try:
                seed(number)(bounded(prove))()
                verdict = "0 broken"
            except Exception as error:  # noqa: BLE001 - this is what the benchmark looks for
                broken += 1
                verdict = f"BROKEN: {type(error).__name__}: {str(error)[:300]} {getattr(error, '__notes__', '')}"
            took = time.monotonic() - began
            print(f"{title:<26} {verdict}; control, the usual way: {control.wrong} fail; {took:.1f} s")
            broken += control.wrong == 0
    return 1 if broken else 0


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(arguments + [10_000, 1][len(arguments) :])))
