"""Names and encodings of files."""

from __future__ import annotations

import os
import unicodedata

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY, call
from tests.repositories.odd import commit, edit, odd

_QUOTED = 'it\'s a "name" with\ttabs\nand lines \\ $HOME `x`.txt'
_LATIN = os.fsdecode("gr\xfc\xdfe.txt".encode("latin-1"))
_COMPOSED = unicodedata.normalize("NFC", "café ☕ 日本.txt")
_DECOMPOSED = unicodedata.normalize("NFD", "café ☕ 日本.txt")
_LONG = "n" * 251 + ".txt"


@odd(
    "grep -q two 'a name with spaces/and more.txt'",
    steps=(edit("a name with spaces/and more.txt", "one", "two"),),
    changed=("a name with spaces/and more.txt",),
    layers=("default", "landlock", "off"),
)
def names_with_spaces(world: World) -> None:
    commit(world, {"a name with spaces/and more.txt": "one\n", " leading": "1\n", "trailing ": "1\n"})


@odd("grep -q two *HOME*", steps=(call("bash", command="sed -i s/one/two/ *HOME*"),), changed=(_QUOTED,))
def names_with_quotes_and_line_breaks(world: World) -> None:
    commit(world, {_QUOTED: "one\n", "other\nname": "1\n", "\x1b[31mred": "1\n"})


@odd(f"grep -q two '{_COMPOSED}'", steps=(edit(_COMPOSED, "one", "two"),), changed=(_COMPOSED,))
def names_composed_and_decomposed(world: World) -> None:
    commit(world, {_COMPOSED: "one\n", _DECOMPOSED: "other\n"})


@odd(VERIFY, layers=("default", "off"))
def names_that_are_not_utf_8(world: World) -> None:
    commit(world, {_LATIN: "one\n", f"{_LATIN}-folder/{_LATIN}": "one\n"})


@odd(
    "grep -q two ./*fe.txt || grep -q two gr*.txt",
    steps=(call("bash", command="sed -i s/one/two/ gr*.txt"),),
    changed=(_LATIN,),
)
def a_change_of_a_file_whose_name_is_not_utf_8(world: World) -> None:
    commit(world, {_LATIN: "one\n"})


@odd("grep -q two ./-rf", steps=(edit("-rf", "one", "two"),), changed=("-rf",))
def names_that_begin_with_a_dash(world: World) -> None:
    commit(world, {"-rf": "one\n", "--help": "1\n", "-": "1\n", "--/x": "1\n"})


@odd("grep -q two ':(glob)x'", steps=(edit(":(glob)x", "one", "two"),), changed=(":(glob)x",))
def names_that_look_like_patterns(world: World) -> None:
    commit(world, {":(glob)x": "one\n", "*": "1\n", "[a]": "1\n", "a?": "1\n", "#x": "1\n", "!y": "1\n", "a\\b": "1\n"})


@odd(f"grep -q two {_LONG}", steps=(edit(_LONG, "one", "two"),), changed=(_LONG,))
def names_as_long_as_can_be(world: World) -> None:
    commit(world, {_LONG: "one\n", "/".join(["d" * 200] * 8) + "/deep.txt": "1\n"})


@odd("grep -q two Readme && grep -q one readme", steps=(edit("Readme", "one", "two"),), changed=("Readme",))
def names_that_differ_in_case_only(world: World) -> None:
    commit(world, {"Readme": "one\n", "readme": "one\n", "Folder/a": "1\n", "folder/a": "2\n"})


@odd(
    "test ! -e old.txt && grep -q text new.txt",
    steps=(call("bash", command="git mv old.txt new.txt"),),
    changed=("new.txt", "old.txt"),
)
def a_file_that_is_renamed(world: World) -> None:
    commit(world, {"old.txt": "text\n" * 20})


@odd(
    "grep -q two bom.txt && head -c 3 bom.txt | grep -q \"$(printf '\\357\\273\\277')\"",
    steps=(edit("bom.txt", "one", "two"),),
    changed=("bom.txt",),
)
def a_byte_order_mark_in_a_file_that_is_edited(world: World) -> None:
    commit(world, {"bom.txt": b"\xef\xbb\xbfone\nlast", "other.txt": b"\xef\xbb\xbfone\r\n"})


@odd(
    "LC_ALL=C grep -q two latin.txt && test $(wc -c < latin.txt) = 13",
    steps=(edit("latin.txt", "one", "two"),),
    changed=("latin.txt",),
)
def latin_1_in_a_file_that_is_edited(world: World) -> None:
    commit(world, {"latin.txt": "gr\xfc\xdfe\r\none\r\nx".encode("latin-1"), "other.txt": "\xe4\n".encode("latin-1")})


@odd(f"{VERIFY} && test $(wc -c < wide.txt) = 10")
def utf_16_and_no_end_of_line(world: World) -> None:
    commit(world, {"wide.txt": "text".encode("utf-16"), "none.txt": "no end", "nothing": "", "cr.txt": "a\rb\r"})
