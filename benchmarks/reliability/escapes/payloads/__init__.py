"""The snippets, a file for each group. Each works where nothing holds it, and harms nothing but the bench's world."""

from __future__ import annotations

from ..words import Snippet
from .git import GIT
from .kernel import KERNEL
from .network import NETWORK
from .processes import PROCESSES
from .secrets import SECRETS, TOOLCHAINS
from .write import WRITE

__all__ = ["SNIPPETS"]

SNIPPETS: tuple[Snippet, ...] = (*WRITE, *GIT, *SECRETS, *NETWORK, *KERNEL, *PROCESSES, *TOOLCHAINS)
