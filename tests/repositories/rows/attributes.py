"""What ``.gitattributes`` says: line ends, encodings, filters, merge drivers."""

from __future__ import annotations

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY, call
from tests.repositories.odd import commit, configure, edit, odd

CR_LF = b"class A {\r\n}\r\n" * 30
_HAS_30_CR = "test $(tr -cd '\\r' < Old.cs | wc -c) = 60"


@odd(
    "grep -q 'class B' Old.cs",
    steps=(edit("Old.cs", "class A {\r\n}\r\nclass A {\r\n}\r\nend", "class A {\r\n}\r\nclass B {\r\n}\r\nend"),),
    changed=("Old.cs",),
)
def eol_crlf_in_a_file_that_is_edited(world: World) -> None:
    commit(world, {".gitattributes": "*.cs text eol=crlf\n"})
    commit(world, {"Old.cs": CR_LF + b"end\r\n", "Other.cs": CR_LF})


@odd(f"{VERIFY} && {_HAS_30_CR}")
def text_auto_with_cr_lf_in_the_blobs(world: World) -> None:
    commit(world, {"Old.cs": CR_LF, "lf.txt": "a\nb\n", "mixed.txt": b"a\r\nb\n"})
    commit(world, {".gitattributes": "* text=auto\n"})


@odd(f"{VERIFY} && test $(wc -c < a.dat) = 8 && {_HAS_30_CR}")
def binary_and_no_text(world: World) -> None:
    commit(world, {".gitattributes": "* text=auto\n*.dat binary\n*.cs -text\n"})
    commit(world, {"a.dat": b"\0\r\n\xff\n\r\n\0", "Old.cs": CR_LF})


@odd(f"{VERIFY} && python3 -c \"assert open('wide.txt', encoding='utf-16').read() == 'wide\\n'\"")
def working_tree_encoding_utf_16(world: World) -> None:
    commit(world, {".gitattributes": "wide.txt text working-tree-encoding=UTF-16\n"})
    commit(world, {"wide.txt": "wide\n".encode("utf-16")})
    # As git itself writes it: it chooses the byte order.
    (world.repository / "wide.txt").unlink()
    world.git("checkout", "--", "wide.txt")


@odd(
    "grep -q 'int b' a.c && grep -q 'Id: ' a.c",
    steps=(edit("a.c", "int a;", "int b;"),),
    changed=("a.c",),
)
def ident_in_a_file_that_is_edited(world: World) -> None:
    commit(world, {".gitattributes": "*.c ident\n"})
    commit(world, {"a.c": "/* $Id$ */\nint a;\n", "b.c": "/* $Id$ */\n"})
    for name in ("a.c", "b.c"):
        (world.repository / name).unlink()
        world.git("checkout", "--", name)


@odd()
def export_ignore_and_export_subst(world: World) -> None:
    commit(world, {".gitattributes": "secret export-ignore\nversion export-subst\n"})
    commit(world, {"secret": "kept\n", "version": "$Format:%H$\n"})


def _add_a_line(world: World) -> None:
    commit(world, {"CHANGES": "one\nuser\n"}, "Add a line")


@odd(
    "grep -q model CHANGES",
    steps=(edit("CHANGES", "one\n", "one\nmodel\n"),),
    changed=("CHANGES",),
    meanwhile=_add_a_line,
)
def merge_by_union(world: World) -> None:
    commit(world, {".gitattributes": "CHANGES merge=union\n", "CHANGES": "one\n"})


@odd(layers=("default", "off"))
def a_filter_of_the_user(world: World) -> None:
    configure(world, filter__rot__clean="tr a-z n-za-m", filter__rot__smudge="tr a-z n-za-m")
    commit(world, {".gitattributes": "*.rot filter=rot\n", "a.rot": "plain text\n"})


@odd()
def a_required_filter_of_the_user(world: World) -> None:
    configure(world, filter__rot__clean="tr a-z n-za-m", filter__rot__smudge="tr a-z n-za-m")
    configure(world, filter__rot__required="true")
    commit(world, {".gitattributes": "*.rot filter=rot\n", "a.rot": "plain text\n"})


@odd()
def diff_and_merge_drivers_of_the_user(world: World) -> None:
    configure(world, diff__odd__textconv="false", diff__odd__command="false", merge__odd__driver="false")
    commit(world, {".gitattributes": "*.txt diff=odd merge=odd\n", "a.txt": "text\n"})


@odd(
    "test -f sub/new.txt && grep -q new sub/new.txt",
    steps=(call("write", path="sub/new.txt", content="new\n"),),
    changed=("sub/new.txt",),
)
def attributes_in_folders_and_of_the_user(world: World) -> None:
    (world.home / "attributes").write_text("*.md -text\n", encoding="utf-8")
    world.git("config", "--global", "core.attributesFile", str(world.home / "attributes"))
    (world.repository / ".git/info").mkdir(exist_ok=True)
    (world.repository / ".git/info/attributes").write_text("*.cs -text\n", encoding="utf-8")
    commit(world, {"sub/.gitattributes": "*.txt text eol=lf\n", "Old.cs": CR_LF, "a.md": b"a\r\n"})


@odd(f"{VERIFY} && {_HAS_30_CR}", layers=("default", "landlock", "off"))
def eol_crlf_with_cr_lf_in_the_blobs(world: World) -> None:
    commit(world, {"Old.cs": CR_LF, "Other.cs": CR_LF})
    commit(world, {".gitattributes": "*.cs text eol=crlf\n"})


@odd(f"{VERIFY} && {_HAS_30_CR}")
def text_with_cr_lf_in_the_blobs(world: World) -> None:
    commit(world, {"Old.cs": CR_LF})
    commit(world, {".gitattributes": "*.cs text\n"})
