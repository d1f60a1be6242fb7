"""A session and its scratchpad, for programs without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from portcullis import _session_requests as requests
from portcullis import _state_requests as state_requests
from portcullis._request import check_name
from portcullis._session_requests import ToolResult
from portcullis._state_requests import Expect, Listed, Value
from portcullis.errors import Conflict, NotFound

if TYPE_CHECKING:
    from portcullis.client import Client

# How often a change is begun again because somebody else was faster.
CHANGE_LIMIT = 16


class Session:
    """A durable conversation that belongs to the principal of the client's key."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.state = State(self)

    @property
    def openai_base_url(self) -> str:
        """The base URL for OpenAI clients; whatever they send is part of this session."""
        return f"{self.client.base_url}/s/{self.name}/v1"

    @property
    def mcp_url(self) -> str:
        """Where MCP clients find all tools of this session; whatever they call is part of it."""
        return f"{self.client.base_url}/s/{self.name}/mcp"

    def toolset_url(self, toolset: str) -> str:
        """Where MCP clients find the tools of one toolset or server."""
        return f"{self.mcp_url}/{check_name(toolset, 'a toolset')}"

    @property
    def headers(self) -> dict[str, str]:
        """Headers that carry key and session, for clients that can't be given a base URL of their own."""
        return {**self.client.headers, "Portcullis-Session": self.name}

    def history(self) -> list[dict[str, Any]]:
        """The conversation as OpenAI chat messages: send it again and you are where you were."""
        return self.client.run(requests.history(self.name))

    def entries(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """What the journal says of the session, in order."""
        while page := self.client.run(requests.entries(self.name, after)):
            yield from page
            after = page[-1]["seq"]

    def info(self) -> dict[str, Any]:
        """Status, counts and account."""
        return self.client.run(requests.info(self.name))

    def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        toolset: str | None = None,
        idempotency_key: str | None = None,
    ) -> ToolResult:
        """Calls a tool so that it takes effect at most once, however often the request has to be sent.

        The same `idempotency_key` later, in this session, gets the recorded answer; the id of the model's tool call is a
        good one. Without one, a new one is made for this call. A denied call is a result with `is_error`.
        """
        return self.client.run(requests.call_tool(self.name, name, arguments, toolset, idempotency_key))

    def close(self) -> None:
        """The session takes no more calls; its record stays."""
        self.client.run(requests.close(self.name))

    def __repr__(self) -> str:
        return f"Session({self.name!r})"


class State:
    """The scratchpad: JSON values with a version.

    As a mapping (`state["step"] = 3`) it writes whatever is there; `put` and `delete` with `expect` write only over what
    is expected, and raise `Conflict` otherwise.
    """

    def __init__(self, session: Session) -> None:
        self._client = session.client
        self._session = session.name

    def read(self, key: str) -> Value | None:
        """The value with its version; none where there is nothing."""
        try:
            return self._client.run(state_requests.read(self._session, key))
        except NotFound:
            return None

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default where there is nothing."""
        found = self.read(key)
        return default if found is None else found.value

    def put(
        self,
        key: str,
        value: Any,
        *,
        expect: Expect | int = Expect.ANYTHING,
        ttl_s: int | None = None,
        repeatable: bool = False,
    ) -> int:
        """Writes the value and tells its version.

        `expect` is a version, or one of `Expect`. After `ttl_s` seconds the value is absent. `repeatable` says that it does
        no harm when the same value is written twice, so that the request may be sent again after a lost answer.
        """
        return self._client.run(state_requests.put(self._session, key, value, expect, ttl_s, repeatable))

    def delete(self, key: str, *, expect: Expect | int = Expect.ANYTHING, repeatable: bool = False) -> None:
        """Deletes the value; raises `NotFound` where there is none."""
        self._client.run(state_requests.delete(self._session, key, expect, repeatable))

    def change(self, key: str, change: Callable[[Any], Any], *, ttl_s: int | None = None) -> Any:
        """Replaces the value by `change(value)`, and begins again where somebody else was faster; tells what was written.

        `change` gets none where there is nothing, and may be called several times.
        """
        for attempt in range(CHANGE_LIMIT):
            found = self.read(key)
            value = change(None if found is None else found.value)
            try:
                self.put(key, value, expect=Expect.ABSENT if found is None else found.version, ttl_s=ttl_s)
            except Conflict:
                if attempt + 1 == CHANGE_LIMIT:
                    raise
            else:
                return value
        raise AssertionError("the loop returns or raises")

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """The keys that begin so, in order."""
        after: str | None = None
        while True:
            try:
                page = self._client.run(state_requests.page(self._session, prefix, after))
            except NotFound:
                return  # a session that nobody has opened yet has nothing in it
            yield from page.values
            if page.next is None:
                return
            after = page.next

    def __getitem__(self, key: str) -> Any:
        found = self.read(key)
        if found is None:
            raise KeyError(key)
        return found.value

    def __setitem__(self, key: str, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        try:
            self.delete(key)
        except NotFound:
            raise KeyError(key) from None

    def __contains__(self, key: str) -> bool:
        return self.read(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (listed.key for listed in self.list())
