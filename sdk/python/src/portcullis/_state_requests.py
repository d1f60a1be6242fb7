"""The scratchpad's requests, for both clients."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from portcullis._request import Request, check_name, dump, nothing


class Expect(enum.Enum):
    """What a writer expects to be there, where it is no version."""

    ANYTHING = enum.auto()
    ABSENT = enum.auto()
    PRESENT = enum.auto()


@dataclass(frozen=True)
class Value:
    """A value with the version that it has."""

    value: Any
    version: int


@dataclass(frozen=True)
class Listed:
    """A key, without its value."""

    key: str
    version: int
    bytes: int
    expires_at: str | None = None


@dataclass(frozen=True)
class Page:
    """Some keys in order, and where the next page begins."""

    values: Sequence[Listed]
    next: str | None


def _path(session: str, key: str) -> str:
    return f"/api/v1/sessions/{session}/state/{check_name(key, 'a value')}"


def _condition(expect: Expect | int) -> dict[str, str]:
    if isinstance(expect, int):
        return {"If-Match": f'"{expect}"'}
    return {Expect.ANYTHING: {}, Expect.ABSENT: {"If-None-Match": "*"}, Expect.PRESENT: {"If-Match": "*"}}[expect]


def _version(response: httpx.Response) -> int:
    return int(response.headers["etag"].strip('"'))


def read(session: str, key: str) -> Request[Value]:
    return Request("GET", _path(session, key), lambda response: Value(response.json(), _version(response)), repeatable=True)


def put(session: str, key: str, value: Any, expect: Expect | int, ttl_s: int | None, repeatable: bool) -> Request[int]:
    query = "" if ttl_s is None else f"?ttl_s={int(ttl_s)}"
    headers = {"Content-Type": "application/json", **_condition(expect)}
    return Request("PUT", _path(session, key) + query, _version, headers, dump(value), repeatable)


def delete(session: str, key: str, expect: Expect | int, repeatable: bool) -> Request[None]:
    return Request("DELETE", _path(session, key), nothing, _condition(expect), repeatable=repeatable)


def page(session: str, prefix: str, after: str | None) -> Request[Page]:
    query = []
    if prefix:
        query.append(f"prefix={check_name(prefix, 'a value')}")
    if after is not None:
        query.append(f"after={check_name(after, 'a value')}")
    path = f"/api/v1/sessions/{session}/state" + ("?" + "&".join(query) if query else "")
    return Request("GET", path, _read_page, repeatable=True)


def _read_page(response: httpx.Response) -> Page:
    body = response.json()
    values = [Listed(one["key"], one["version"], one["bytes"], one.get("expires_at")) for one in body["values"]]
    return Page(values, body.get("next"))
