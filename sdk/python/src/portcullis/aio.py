"""The same for programs with an event loop. What each method does is told at its namesake in `client` and `session`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, TypeVar

import httpx

from portcullis import _session_requests as requests
from portcullis import _state_requests as state_requests
from portcullis._request import RETRIES, TIMEOUT_S, Request, check_name, failure, finish, pause_s
from portcullis._session_requests import ToolResult
from portcullis._state_requests import Expect, Listed, Value
from portcullis.client import settings
from portcullis.errors import Conflict, NotFound
from portcullis.session import CHANGE_LIMIT

T = TypeVar("T")


class AsyncClient:
    """A connection to a gateway, for one key and one event loop. See `Client`."""

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url, self._key = settings(base_url, key)
        self._retries = retries
        self._http = httpx.AsyncClient(
            base_url=self.base_url, headers=self.headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    @property
    def key(self) -> str:
        return self._key

    def session(self, name: str) -> AsyncSession:
        return AsyncSession(self, check_name(name, "a session"))

    async def open_session(self, name: str | None = None) -> AsyncSession:
        return AsyncSession(self, await self.run(requests.open_session(name)))

    async def sessions(self) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while page := await self.run(requests.sessions(after)):
            for session in page:
                yield session
            after = page[-1]["id"]

    async def run(self, request: Request[T]) -> T:
        attempt = 0
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.request(
                    request.method, request.path, headers=dict(request.headers), content=request.content
                )
            except httpx.TransportError as error:
                outcome = error
            pause = pause_s(request, attempt, outcome) if attempt < self._retries else None
            if pause is None:
                break
            await asyncio.sleep(pause)
            attempt += 1
        if isinstance(outcome, httpx.TransportError):
            raise failure(outcome) from outcome
        return finish(request, outcome)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


class AsyncSession:
    """See `Session`."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self.client = client
        self.name = name
        self.state = AsyncState(self)

    @property
    def openai_base_url(self) -> str:
        return f"{self.client.base_url}/s/{self.name}/v1"

    @property
    def mcp_url(self) -> str:
        return f"{self.client.base_url}/s/{self.name}/mcp"

    def toolset_url(self, toolset: str) -> str:
        return f"{self.mcp_url}/{check_name(toolset, 'a toolset')}"

    @property
    def headers(self) -> dict[str, str]:
        return {**self.client.headers, "Portcullis-Session": self.name}

    async def history(self) -> list[dict[str, Any]]:
        return await self.client.run(requests.history(self.name))

    async def entries(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        while page := await self.client.run(requests.entries(self.name, after)):
            for entry in page:
                yield entry
            after = page[-1]["seq"]

    async def info(self) -> dict[str, Any]:
        return await self.client.run(requests.info(self.name))

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        toolset: str | None = None,
        idempotency_key: str | None = None,
    ) -> ToolResult:
        return await self.client.run(requests.call_tool(self.name, name, arguments, toolset, idempotency_key))

    async def close(self) -> None:
        await self.client.run(requests.close(self.name))

    def __repr__(self) -> str:
        return f"AsyncSession({self.name!r})"


class AsyncState:
    """See `State`. It is no mapping, as those can't be waited for."""

    def __init__(self, session: AsyncSession) -> None:
        self._client = session.client
        self._session = session.name

    async def read(self, key: str) -> Value | None:
        try:
            return await self._client.run(state_requests.read(self._session, key))
        except NotFound:
            return None

    async def get(self, key: str, default: Any = None) -> Any:
        found = await self.read(key)
        return default if found is None else found.value

    async def put(
        self,
        key: str,
        value: Any,
        *,
        expect: Expect | int = Expect.ANYTHING,
        ttl_s: int | None = None,
        repeatable: bool = False,
    ) -> int:
        return await self._client.run(state_requests.put(self._session, key, value, expect, ttl_s, repeatable))

    async def delete(self, key: str, *, expect: Expect | int = Expect.ANYTHING, repeatable: bool = False) -> None:
        await self._client.run(state_requests.delete(self._session, key, expect, repeatable))

    async def change(self, key: str, change: Callable[[Any], Any], *, ttl_s: int | None = None) -> Any:
        for attempt in range(CHANGE_LIMIT):
            found = await self.read(key)
            value = change(None if found is None else found.value)
            try:
                await self.put(key, value, expect=Expect.ABSENT if found is None else found.version, ttl_s=ttl_s)
            except Conflict:
                if attempt + 1 == CHANGE_LIMIT:
                    raise
            else:
                return value
        raise AssertionError("the loop returns or raises")

    async def list(self, prefix: str = "") -> AsyncIterator[Listed]:
        after: str | None = None
        while True:
            try:
                page = await self._client.run(state_requests.page(self._session, prefix, after))
            except NotFound:
                return
            for listed in page.values:
                yield listed
            if page.next is None:
                return
            after = page.next
