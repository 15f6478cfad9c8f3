"""Where the checkout is."""

from __future__ import annotations

from tests.commands.conftest import World
from tests.commands.scripts import VERIFY
from tests.repositories.odd import commit, edit, move, odd

_HERE = f"{VERIFY} && cat README && touch scratch.tmp && rm scratch.tmp"


@odd(_HERE, layers=("default", "landlock", "off"))
def a_path_with_spaces_and_quotes(world: World) -> None:
    move(world, world.home / "my 'own' \"code\" $HOME/the project")


@odd(_HERE, layers=("default", "landlock", "off"))
def a_path_with_colon_comma_and_equals_sign(world: World) -> None:
    move(world, world.home / "a:b,c=d;e/pro:ject,x=y")


@odd(_HERE)
def a_path_with_backslashes_and_percent_signs(world: World) -> None:
    move(world, world.home / "a\\b%20c{x}[y]*?/pro\\\\ject")


@odd(_HERE, layers=("default", "landlock", "off"))
def a_path_in_another_script(world: World) -> None:
    move(world, world.home / "проекты/日本語/café ☕")


@odd(_HERE, layers=("default", "landlock", "off"))
def a_path_of_200_characters(world: World) -> None:
    missing = 200 - len(str(world.repository.parent)) - 1
    place = world.repository.parent
    while missing > 60:
        place, missing = place / ("d" * 40), missing - 41
    move(world, place / ("p" * missing))
    assert len(str(world.repository)) == 200


@odd(_HERE)
def a_path_in_a_dot_folder(world: World) -> None:
    move(world, world.home / ".hidden/.project")


@odd(_HERE)
def a_path_below_the_folder_of_autoroute(world: World) -> None:
    move(world, world.home / "state/autoroute/project")


@odd(_HERE)
def a_path_that_begins_with_a_dash(world: World) -> None:
    move(world, world.home / "-rf")


@odd(
    "grep -q two packages/app/a.txt",
    steps=(edit("packages/app/a.txt", "one", "two"),),
    changed=("packages/app/a.txt",),
    folder="packages/app",
)
def a_folder_of_a_monorepo(world: World) -> None:
    commit(world, {"packages/app/a.txt": "one\n", "packages/lib/a.txt": "one\n"})
