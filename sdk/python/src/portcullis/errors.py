"""What may go wrong. Everything that this package raises by itself is an `Error`."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """Anything that went wrong between this program and the gateway."""


class Unreachable(Error):
    """The gateway could not be reached: the request was never sent."""


class OutcomeUnknown(Error):
    """The request was sent and no answer came: it may have taken effect or not. Look before you do it again."""


class Refused(Error):
    """The gateway said no.

    `code` is stable and made for programs (`conflict`, `budget_exhausted`, …), `message` is made for people and models,
    `problem` is the whole problem body (RFC 9457).
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "unknown"))
        self.message = str(problem.get("detail", "the gateway gave no reason"))
        super().__init__(f"{self.message} ({self.code})")


class Conflict(Refused):
    """What is there is not what was expected."""


class NotFound(Refused):
    """There is no such session or value for this caller."""


class Unauthenticated(Refused):
    """The key is missing, unknown, over or revoked."""


class SessionClosed(Refused):
    """The session takes nothing any more; its record stays."""


class TooLarge(Refused):
    """A value is over its limit, or the values of the session are together."""


class TooMany(Refused):
    """There are as many as there may be: values in the session, or calls under way."""


_BY_CODE: dict[str, type[Refused]] = {
    "conflict": Conflict,
    "not_found": NotFound,
    "session_not_found": NotFound,
    "unauthenticated": Unauthenticated,
    "session_closed": SessionClosed,
    "too_large": TooLarge,
    "too_many": TooMany,
}


def refused(status: int, problem: dict[str, Any]) -> Refused:
    """The class that fits the code."""
    return _BY_CODE.get(str(problem.get("code")), Refused)(status, problem)
