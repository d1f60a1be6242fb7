"""Sessions, memory and checkpoints of agents behind the Portcullis gateway.

Start with `Client` (or `AsyncClient`) and its `session`. `portcullis.langgraph`, `portcullis.autogen` and `portcullis.crewai`
keep the state of these frameworks in the session; `portcullis.connect` carries the session into the clients of others.
"""

from portcullis._session_requests import ToolResult
from portcullis._state_requests import Expect, Listed, Value
from portcullis.aio import AsyncClient, AsyncSession, AsyncState
from portcullis.client import Client
from portcullis.errors import (
    Conflict,
    Error,
    NotFound,
    OutcomeUnknown,
    Refused,
    SessionClosed,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unreachable,
)
from portcullis.session import Session, State

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "AsyncState",
    "Client",
    "Conflict",
    "Error",
    "Expect",
    "Listed",
    "NotFound",
    "OutcomeUnknown",
    "Refused",
    "Session",
    "SessionClosed",
    "State",
    "TooLarge",
    "TooMany",
    "ToolResult",
    "Unauthenticated",
    "Unreachable",
    "Value",
]
