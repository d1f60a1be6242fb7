"""The client for programs without an event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

import httpx

from portcullis import _session_requests as requests
from portcullis._request import DEFAULT_URL, RETRIES, TIMEOUT_S, Request, check_name, failure, finish, pause_s
from portcullis.session import Session

T = TypeVar("T")


def settings(base_url: str | None, key: str | None) -> tuple[str, str]:
    """The gateway's address and the key, from the arguments or the environment."""
    base_url = base_url or os.environ.get("PORTCULLIS_URL") or DEFAULT_URL
    key = key or os.environ.get("PORTCULLIS_KEY")
    if not key:
        raise ValueError("no key: give one, or set PORTCULLIS_KEY")
    return base_url.rstrip("/"), key


class Client:
    """A connection to a gateway, for one key. It may be used by many threads at once.

    `base_url` and `key` come from `PORTCULLIS_URL` and `PORTCULLIS_KEY` where they are not given. `retries` is how often
    a request is sent again that may safely be: because it only reads, because it never left, or because it carries an
    idempotency key. Proxies and `.netrc` of the environment are not looked at: the key goes to the gateway and nowhere else.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url, self._key = settings(base_url, key)
        self._retries = retries
        self._http = httpx.Client(
            base_url=self.base_url, headers=self.headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers that any client of the gateway needs."""
        return {"Authorization": f"Bearer {self._key}"}

    @property
    def key(self) -> str:
        """The key, for libraries that want to send it themselves."""
        return self._key

    def session(self, name: str) -> Session:
        """The session of that name. Nothing is sent: it is opened by the first call or write in it."""
        return Session(self, check_name(name, "a session"))

    def open_session(self, name: str | None = None) -> Session:
        """Opens the session of that name unless it is open; without a name the gateway makes one that nobody can guess."""
        return Session(self, self.run(requests.open_session(name)))

    def sessions(self) -> Iterator[dict[str, Any]]:
        """One's own sessions, in order; for administrators, everybody's."""
        after: str | None = None
        while page := self.run(requests.sessions(after)):
            yield from page
            after = page[-1]["id"]

    def run(self, request: Request[T]) -> T:
        """Sends a request, again where that is safe, and reads its answer."""
        attempt = 0
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.request(request.method, request.path, headers=dict(request.headers), content=request.content)
            except httpx.TransportError as error:
                outcome = error
            pause = pause_s(request, attempt, outcome) if attempt < self._retries else None
            if pause is None:
                break
            time.sleep(pause)
            attempt += 1
        if isinstance(outcome, httpx.TransportError):
            raise failure(outcome) from outcome
        return finish(request, outcome)

    def close(self) -> None:
        """Lets go of the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
