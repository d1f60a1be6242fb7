"""Requests as data: what to send, whether it may be sent twice, and how to read the answer. Both clients send them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from portcullis.errors import Error, OutcomeUnknown, Unreachable, refused

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:4040"
TIMEOUT_S = 30.0
RETRIES = 2
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
# Of these nothing has left, so that anything may be sent again.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The gateway decided nothing; it says so itself.
_UNDECIDED = "stale_decision"
_TRANSIENT = (502, 503, 504)


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request of the gateway's API."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    # Whether it may be sent again although it may have taken effect already.
    repeatable: bool = False


def check_name(name: str, what: str) -> str:
    """The name itself, if it is one: it becomes part of a path, and must not lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of {what}: use 1 to 128 of A-Z a-z 0-9 . _ - @ +, beginning with a letter or a digit"
        )
    return name


def pause_s(request: Request[Any], attempt: int, outcome: httpx.Response | httpx.TransportError) -> float | None:
    """How long to wait before it is sent again; none when it must not be."""
    if isinstance(outcome, httpx.TransportError):
        again = request.repeatable or isinstance(outcome, _NEVER_SENT)
    elif outcome.status_code in _TRANSIENT:
        again = request.repeatable or problem_of(outcome).get("code") == _UNDECIDED
    else:
        again = False
    return min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S) if again else None


def failure(error: httpx.TransportError) -> Error:
    """What a lost connection means to the caller."""
    what = str(error) or type(error).__name__
    if isinstance(error, _NEVER_SENT):
        return Unreachable(f"the gateway can't be reached: {what}")
    return OutcomeUnknown(f"no answer came from the gateway: {what}")


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem body, or what can be said without one."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"status": response.status_code, "detail": response.text[:200] or response.reason_phrase}


def finish(request: Request[T], response: httpx.Response) -> T:
    """The answer, read; or the refusal, raised."""
    if not response.is_success:
        raise refused(response.status_code, problem_of(response))
    return request.read(response)


def dump(value: Any) -> bytes:
    """JSON as the gateway takes it: no NaN, no spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def nothing(_: httpx.Response) -> None:
    """Of some answers only the status counts."""
