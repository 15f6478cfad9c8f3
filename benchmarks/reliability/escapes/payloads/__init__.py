"""The snippets, one file for each group. Each works without a sandbox, and harms only the benchmark's world."""

from __future__ import annotations

from ..snippet import Snippet
from .git import GIT
from .kernel import KERNEL
from .mounts import MOUNTS
from .network import NETWORK
from .processes import PROCESSES
from .secrets import SECRETS, TOOLCHAINS
from .write import WRITE

__all__ = ["SNIPPETS"]

SNIPPETS: tuple[Snippet, ...] = (*WRITE, *MOUNTS, *GIT, *SECRETS, *NETWORK, *KERNEL, *PROCESSES, *TOOLCHAINS)
