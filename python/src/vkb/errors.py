# SPDX-License-Identifier: Apache-2.0
"""Exceptions, under the names that Chroma gives them.

Every refusal of the engine or of a server is a `ChromaError`. Wrong arguments that are noticed
before anything is sent are `ValueError` or `TypeError`, as in Chroma.

When the `chromadb` package is loaded in the same process, what is raised here is also an instance
of its class of that name, so `except chromadb.errors.NotFoundError` goes on working.
"""

from __future__ import annotations

import sys
from typing import Dict, Optional, Tuple, Type


class ChromaError(Exception):
    """Base of all refusals. `str(error)` is the message."""

    trace_id: Optional[str] = None
    _status = 400
    _name = "ChromaError"

    def code(self) -> int:
        """The HTTP status that says the same."""
        return self._status

    def message(self) -> str:
        """The text of the refusal."""
        return ", ".join(str(argument) for argument in self.args)

    @classmethod
    def name(cls) -> str:
        """The name of the error in answers of a server."""
        return cls._name

    def __reduce__(self) -> Tuple[object, ...]:
        # The class may have been made by raisable(); pickle finds it again by its name.
        return _restore, (type(self).__name__, self.args)


class InvalidDimensionException(ChromaError):
    """An embedding is not as long as those of the collection."""

    _name = "InvalidDimension"


class InvalidArgumentError(ChromaError):
    """The engine or the server refuses a value."""

    _name = "InvalidArgument"


class IDAlreadyExistsError(ChromaError):
    """A record of that id exists."""

    _status = 409
    _name = "IDAlreadyExists"


class DuplicateIDError(ChromaError):
    """An id stands twice in one call."""

    _name = "DuplicateID"


class InvalidUUIDError(ChromaError):
    """Not a UUID."""

    _name = "InvalidUUID"


class InvalidHTTPVersion(ChromaError):
    """The server speaks another HTTP."""

    _name = "InvalidHTTPVersion"


class ChromaAuthError(ChromaError):
    """The server wants other credentials."""

    _status = 403
    _name = "AuthError"


class AuthorizationError(ChromaError):
    """The credentials, or the settings of the store, do not allow this."""

    _status = 401
    _name = "AuthorizationError"


class NotFoundError(ChromaError):
    """No such collection, database or tenant."""

    _status = 404
    _name = "NotFoundError"


class InternalError(ChromaError):
    """The engine or the server failed: damaged files, a full disk, a store that is busy."""

    _status = 500
    _name = "InternalError"


class UniqueConstraintError(InternalError):
    """The name is taken. (An `InternalError` too, which is what Chroma's local client raises.)"""

    _status = 409
    _name = "UniqueConstraintError"


class BatchSizeExceededError(ChromaError):
    """More records in one call than the server takes."""

    _status = 413
    _name = "BatchSizeExceededError"


class VersionMismatchError(ChromaError):
    """Client and server do not fit."""

    _status = 500
    _name = "VersionMismatchError"


class RateLimitError(ChromaError):
    """Too many requests."""

    _status = 429
    _name = "RateLimitError"


class QuotaError(ChromaError):
    """A quota is used up."""

    _name = "QuotaError"


# The names that stand in a server's answers.
error_types: Dict[str, Type[ChromaError]] = {
    "InvalidDimension": InvalidDimensionException,
    "InvalidArgumentError": InvalidArgumentError,
    "IDAlreadyExists": IDAlreadyExistsError,
    "DuplicateID": DuplicateIDError,
    "InvalidUUID": InvalidUUIDError,
    "InvalidHTTPVersion": InvalidHTTPVersion,
    "AuthorizationError": AuthorizationError,
    "NotFoundError": NotFoundError,
    "BatchSizeExceededError": BatchSizeExceededError,
    "VersionMismatchError": VersionMismatchError,
    "RateLimitError": RateLimitError,
    "AuthError": ChromaAuthError,
    "UniqueConstraintError": UniqueConstraintError,
    "QuotaError": QuotaError,
    "InternalError": InternalError,
    "ChromaError": ChromaError,
}

_raisable: Dict[Tuple[Type[ChromaError], object], Type[ChromaError]] = {}


def raisable(cls: Type[ChromaError]) -> Type[ChromaError]:
    """The class to raise for `cls`: itself, or, where chromadb is loaded, one that derives from
    both this class and chromadb's. Decided when raising, so the order of imports does not matter.
    """
    theirs = sys.modules.get("chromadb.errors")
    if theirs is None:
        return cls
    key = (cls, theirs)
    if key not in _raisable:
        named = [c.__name__ for c in cls.__mro__ if issubclass(c, ChromaError)]
        bases = [getattr(theirs, name) for name in named if hasattr(theirs, name)]
        # A base that another one derives from already would contradict the order of the rest.
        bases = [b for b in bases if not any(b is not c and issubclass(c, b) for c in bases)]
        if not bases:  # chromadb is being imported at this moment
            return cls
        space = {"__module__": cls.__module__, "__doc__": cls.__doc__}
        _raisable[key] = type(bases[0])(cls.__name__, (cls, *bases), space)
    return _raisable[key]


def from_answer(status: int, name: str, message: str) -> ChromaError:
    """The exception for an HTTP status and the name and message that came with it."""
    cls = error_types.get(name, ChromaError)
    if cls is ChromaError:
        # 403 without a name of its own is what is not allowed at all, such as a reset.
        by_status = {401: AuthorizationError, 403: AuthorizationError, 409: UniqueConstraintError}
        cls = by_status.get(status, ChromaError)
    return raisable(cls)(message)


def _restore(name: str, arguments: Tuple[object, ...]) -> ChromaError:
    return raisable(globals()[name])(*arguments)
