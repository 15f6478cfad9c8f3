"""The error tree: one class for each cause that asks for a different action of the user.

    AutorouteError (exit_code, hint)
    ├─ UsageError          an argument or a flag is wrong                              exit 2
    ├─ ConfigError         a settings file, a variable or a flag's value is wrong           78
    ├─ CapabilityError     a model cannot do what its phase needs                           78
    ├─ TaskError           the task file is missing, empty or unreadable                    65
    ├─ WorkspaceError      the repository, the private clone or the run folder is unusable  73
    ├─ SandboxMissing      no sandbox works on this machine                                 69
    ├─ ApprovalNeeded      a person must approve first                                      13
    ├─ BudgetReached       the allowed money or tokens are spent                            12
    ├─ Cancelled           the user or the system stopped the run                     130, 143
    ├─ PhaseFailed         a phase ended without its result                             10, 11
    └─ ProviderError       a provider refused or failed (provider, model, account, …)       69
       ├─ Busy             burst limit or overload: the same request may work soon          75
       ├─ LimitReached     usage window or quota spent: nothing works before its reset      75
       ├─ Unreachable      DNS, timeout, interrupted stream, 5xx                            69
       ├─ Unauthorized     key missing, refused, expired, or for another endpoint           77
       ├─ Billing          no balance, no package                                           77
       ├─ NoSuchModel      the provider does not know the model                             78
       ├─ TooLong          the conversation exceeds the model's context window              69
       ├─ BadRequest       the provider rejects the request itself                          69
       └─ BadReply         the response breaks the protocol                                 69
          └─ WrongModel    the response names another model than the requested one          69

Foreign errors are mapped in one place each: HTTP in ``wire/classification.py``, git in ``workspace/git.py``, and those
of the operating system here.
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
"""Which limit was hit, in our words for every vendor; "" if that is unknown."""


class ExitCode(IntEnum):
    """The exit codes of the process: a public contract, one number for each cause."""

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
    """An error that stops a run for a reason that the user can act on.

    ``message`` (and ``str(error)``) says what happened, in one or a few lines. ``hint`` says what to do, with a command
    where possible. The process ends with ``exit_code`` unless something recovers from the error.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AutorouteError):
    """An argument or a flag is wrong, or does not fit the others."""

    exit_code = ExitCode.USAGE


class ConfigError(AutorouteError):
    """A settings file, an environment variable or a flag's value is wrong; the message names which."""

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
    """No sandbox works on this machine, and the user did not allow model commands without one."""

    exit_code = ExitCode.UNAVAILABLE


class ApprovalNeeded(AutorouteError):
    """A person must approve first: they did not, or no terminal is attached to ask at."""

    exit_code = ExitCode.WAITING


_RESOURCE_HINTS: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space there"),
        **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
        **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "free some memory, or allow more processes"),
        errno.EIO: "check the disk",
    }
)
_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_TEMPORARY_FOLDER = "No usable temporary directory"
"""How the message of ``tempfile`` begins if it could write to none of its folders.

The errno is ENOENT then, whatever the cause.
"""


def map_resource_error(error: OSError) -> WorkspaceError | None:
    """Map an error of an exhausted or failing machine to ``WorkspaceError``; return None for any other.

    Such an error can happen at any call: the disk is full, too many files are open, memory or processes ran out.
    """
    hint = _RESOURCE_HINTS.get(error.errno or 0)
    if (error.strerror or "").startswith(_NO_TEMPORARY_FOLDER):
        hint = "free some space there, or set TMPDIR to another folder"
    where = f"{error.filename}: " if error.filename else ""
    return WorkspaceError(f"{where}{error.strerror}", hint=hint) if hint else None


def map_access_error(error: OSError) -> WorkspaceError | None:
    """Map EACCES, EPERM and EROFS to ``WorkspaceError``; return None for any other error."""
    if error.errno not in _ACCESS_ERRORS:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return WorkspaceError(f"{where}{error.strerror}", hint="check that you may read and write there")


class BudgetReached(AutorouteError):
    """The allowed money or tokens are spent."""

    exit_code = ExitCode.BUDGET


class Cancelled(AutorouteError):
    """The user (SIGINT) or the system (SIGTERM) stopped the run."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.INTERRUPTED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class PhaseFailed(AutorouteError):
    """A phase ended without its result after all its attempts; the message is the evidence."""

    exit_code = ExitCode.UNVERIFIED

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.UNVERIFIED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class ProviderError(AutorouteError):
    """A provider refused or failed.

    - ``message`` uses the provider's own words.
    - ``status`` is the HTTP status: None without a response, 200 for an error inside a stream.
    - ``code`` is the vendor's error code or type.
    - ``retry_at`` is the earliest time, in UTC, at which another request makes sense.
    - ``limit`` is the limit that was hit. ``whole_account`` says that it covers all models of the account.
    - ``by_setting`` says that a setting of the user stopped the request, not the provider.
    - ``account_usable`` says that the account would still answer: autoroute left it before its limit.
    - ``detail`` is a longer extract of the response, for the log.
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
        by_setting: bool = False,
        account_usable: bool = False,
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
        self.by_setting = by_setting
        self.account_usable = account_usable
        self.detail = detail


class Busy(ProviderError):
    """A burst limit or an overload (429, 503, 529): the same request may work in a moment."""

    exit_code = ExitCode.LIMITED
    retryable = True


class LimitReached(ProviderError):
    """A usage window or quota is spent. It is never retried: no request works before its reset."""

    exit_code = ExitCode.LIMITED


class Unreachable(ProviderError):
    """DNS, refused connection, TLS, timeout, interrupted stream, 5xx."""

    retryable = True


class Unauthorized(ProviderError):
    """The key is missing, refused, expired, or belongs to another endpoint."""

    exit_code = ExitCode.CREDENTIALS


class Billing(ProviderError):
    """No balance, no package, a payment problem. It is never treated as a rate limit: waiting does not help."""

    exit_code = ExitCode.CREDENTIALS


class NoSuchModel(ProviderError):
    """The provider does not know the model, or the plan lacks it."""

    exit_code = ExitCode.CONFIGURATION


class TooLong(ProviderError):
    """The conversation exceeds the model's context window."""


class BadRequest(ProviderError):
    """The provider rejects the request itself."""


class BadReply(ProviderError):
    """The response breaks the protocol: malformed stream, no content."""

    retryable = True


class WrongModel(BadReply):
    """The response names another model than the requested one. It is not retried: a retry would cost the same again."""

    retryable = False
