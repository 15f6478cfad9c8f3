"""The error tree: one class for each thing that a user would do differently.

    AutorouteError (exit_code, hint)
    ├─ UsageError        the command line asks for something that makes no sense
    ├─ ConfigError       a settings file, variable or flag is wrong
    ├─ CapabilityError   a model cannot do what its phase needs
    ├─ TaskError         the task file cannot be used
    ├─ SandboxMissing    nothing on this machine holds commands of models back
    ├─ WorkspaceError    the repository, the private clone or the run folder cannot be used
    ├─ ApprovalNeeded    a person has to say yes first, and did not, or nobody can be asked
    ├─ BudgetReached     the money or the tokens allowed are spent
    ├─ Cancelled         the user or the system asked the run to stop
    ├─ PhaseFailed       a phase ended without what it must hand on
    └─ ProviderError     a provider refused or failed (provider, model, account, status, code, ...)
       ├─ Busy           a burst limit or an overload: the same request may pass in a moment
       ├─ LimitReached   a usage window or quota is spent: nothing passes before its reset
       ├─ Unreachable    DNS, time-out, cut stream, 5xx
       ├─ Unauthorized   the key is missing, refused, expired, or belongs to another endpoint
       ├─ Billing        no balance, no package
       ├─ NoSuchModel, TooLong, BadRequest, BadReply
       └─ WrongModel       a BadReply: it names another model than the one that was asked for

Foreign errors are mapped in one place each: HTTP in ``wire/classification.py``, git in ``workspace/git.py``, those of a
machine that has run out of something, or lets nobody in, here.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar, Literal

Limit = Literal[
    "", "requests", "tokens", "concurrency", "overload", "five_hour", "day", "week", "month", "balance", "spend", "plan"
]
"""Which limit was hit, whatever the vendor calls it; "" when that is not known."""


class ExitCode(IntEnum):
    """What the process answers to its caller: a public contract, one number for each cause."""

    APPROVED = 0
    INTERNAL = 1
    USAGE = 2
    REJECTED = 10
    UNVERIFIED = 11
    BUDGET = 12
    WAITING = 13
    TASK = 65
    UNAVAILABLE = 69
    WORKSPACE = 73
    LIMITED = 75
    CREDENTIALS = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    TERMINATED = 143


class AutorouteError(Exception):
    """Anything that stops a run for a reason the user can act on.

    ``str(error)`` says what happened, in one or a few lines; ``hint`` names what mends it, best a
    command. ``exit_code`` is what the process ends with when nothing recovers from the error.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AutorouteError):
    """The command line asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class ConfigError(AutorouteError):
    """A settings file, an environment variable or a flag is wrong; the message names the place."""

    exit_code = ExitCode.CONFIGURATION


class CapabilityError(AutorouteError):
    """A model cannot do what its phase needs."""

    exit_code = ExitCode.CONFIGURATION


class TaskError(AutorouteError):
    """The task file is missing, empty or unreadable."""

    exit_code = ExitCode.TASK


class WorkspaceError(AutorouteError):
    """The repository, the private clone or the run folder cannot be used."""

    exit_code = ExitCode.WORKSPACE


class SandboxMissing(AutorouteError):
    """Nothing on this machine holds commands of models back, and nobody said that they may run all the same."""

    exit_code = ExitCode.UNAVAILABLE


class ApprovalNeeded(AutorouteError):
    """A person has to say yes first: they did not, or nobody can be asked."""

    exit_code = ExitCode.WAITING


_MENDED_BY: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
        **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
        **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "free some memory, or allow more processes"),
        errno.EIO: "check the disk",
    }
)


_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


_NO_TEMPORARY_FOLDER = "No usable temporary directory"
"""How Python's ``tempfile`` begins what it says when it could write a file in none of them, for whatever reason."""


def of_the_machine(error: OSError) -> WorkspaceError | None:
    """The error of a machine that has run out of something or fails, wherever that strikes; None for any other."""
    hint = _MENDED_BY.get(error.errno or 0)
    if (error.strerror or "").startswith(_NO_TEMPORARY_FOLDER):
        hint = "free some space there, or name another folder in TMPDIR"
    where = f"{error.filename}: " if error.filename else ""
    return WorkspaceError(f"{where}{error.strerror}", hint=hint) if hint else None


def of_a_closed_place(error: OSError) -> WorkspaceError | None:
    """The error of a place that this user may not read or write, where nobody knew better what it means; else None."""
    if error.errno not in _CLOSED:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return WorkspaceError(f"{where}{error.strerror}", hint="check that you may read and write there")


class BudgetReached(AutorouteError):
    """The money or the tokens allowed are spent."""

    exit_code = ExitCode.BUDGET


class Cancelled(AutorouteError):
    """The user (SIGINT) or the system (SIGTERM) asked the run to stop."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.INTERRUPTED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class PhaseFailed(AutorouteError):
    """A phase ended without what it must hand on, after all its attempts; the message is the evidence."""

    exit_code = ExitCode.UNVERIFIED

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.UNVERIFIED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class ProviderError(AutorouteError):
    """A provider refused or failed.

    ``message`` is in the provider's own words. ``status`` is the HTTP status (None when no answer came;
    200 is possible, for an error inside a stream), ``code`` the vendor's own error code or type,
    ``retry_at`` the earliest time, in UTC, at which it makes sense to ask again, ``limit`` which limit it was,
    ``whole_account`` whether it holds for all models of the account, ``own`` whether it was decided here, by the
    user's settings, and not by the provider, ``still_answers`` whether the account would answer all the same, because
    it was left before its end. ``detail`` is a longer extract of the answer for the log.
    """

    exit_code = ExitCode.UNAVAILABLE
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        account: str = "",
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_at: datetime | None = None,
        limit: Limit = "",
        whole_account: bool = False,
        own: bool = False,
        still_answers: bool = False,
        detail: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.model = model
        self.account = account
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_at = retry_at
        self.limit: Limit = limit
        self.whole_account = whole_account
        self.own = own
        self.still_answers = still_answers
        self.detail = detail


class Busy(ProviderError):
    """A burst limit or an overload (429, 503, 529): the same request may pass in a moment."""

    exit_code = ExitCode.LIMITED
    retryable = True


class LimitReached(ProviderError):
    """A usage window or quota is spent: nothing passes before its reset, so it is never retried."""

    exit_code = ExitCode.LIMITED


class Unreachable(ProviderError):
    """DNS, refused connection, TLS, time-out, cut stream, 5xx."""

    retryable = True


class Unauthorized(ProviderError):
    """The key is missing, refused, expired, or belongs to another endpoint."""

    exit_code = ExitCode.CREDENTIALS


class Billing(ProviderError):
    """No balance, no package, a payment problem; never taken for a rate limit."""

    exit_code = ExitCode.CREDENTIALS


class NoSuchModel(ProviderError):
    """The provider does not know the model, or the plan lacks it."""

    exit_code = ExitCode.CONFIGURATION


class TooLong(ProviderError):
    """The conversation exceeds the model's context window."""


class BadRequest(ProviderError):
    """The provider says that the request itself is wrong."""


class BadReply(ProviderError):
    """The answer breaks the protocol: malformed stream, no content."""

    retryable = True


class WrongModel(BadReply):
    """The answer names another model than the one that was asked for. Asking again would only be paid again."""

    retryable = False
