"""The rows, in modules by kind: each function builds one repository.

attributes.py  what ``.gitattributes`` says, and filters     ignores.py  what git ignores
modes.py       permissions, links                            names.py    names and encodings of files
modules.py     submodules, LFS, repositories in others       clones.py   kinds of clone and of store
checkouts.py   states of a checkout, and settings            places.py   where the checkout is
"""

from tests.repositories.odd import ROWS
from tests.repositories.rows import (  # noqa: F401 - each registers its rows
    attributes,
    checkouts,
    clones,
    ignores,
    modes,
    modules,
    names,
    places,
)

ALL = tuple(ROWS)
