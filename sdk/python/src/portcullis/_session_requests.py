"""The requests of sessions and their tools, for both clients."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from portcullis._request import Request, check_name, dump, nothing
from portcullis.errors import Error, refused

_MCP_VERSION = "2026-07-28"


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    # The text parts, joined.
    text: str
    # Whether the tool, or the gateway in its place, says that it did not work.
    is_error: bool
    # Whether this is the recorded answer of an earlier call with the same idempotency key.
    is_replayed: bool
    # All of the result, as MCP has it.
    result: dict[str, Any]


def path(session: str) -> str:
    return f"/api/v1/sessions/{session}"


def open_session(name: str | None) -> Request[str]:
    wanted = {} if name is None else {"name": name}
    # Without a name, a second request would open a second session.
    return Request(
        "POST",
        "/api/v1/sessions",
        lambda response: str(response.json()["name"]),
        {"Content-Type": "application/json"},
        dump(wanted),
        repeatable=name is not None,
    )


def sessions(after: str | None) -> Request[list[dict[str, Any]]]:
    query = "" if after is None else f"?after={after}"
    return Request("GET", f"/api/v1/sessions{query}", lambda response: list(response.json()["sessions"]), repeatable=True)


def info(session: str) -> Request[dict[str, Any]]:
    return Request("GET", path(session), lambda response: dict(response.json()), repeatable=True)


def history(session: str) -> Request[list[dict[str, Any]]]:
    return Request("GET", f"{path(session)}/history", lambda response: list(response.json()["messages"]), repeatable=True)


def entries(session: str, after: int) -> Request[list[dict[str, Any]]]:
    return Request(
        "GET",
        f"{path(session)}/entries?after={int(after)}",
        lambda response: list(response.json()["entries"]),
        repeatable=True,
    )


def close(session: str) -> Request[None]:
    return Request("DELETE", path(session), nothing)


def call_tool(
    session: str, name: str, arguments: dict[str, Any], toolset: str | None, idempotency_key: str | None
) -> Request[ToolResult]:
    """One stateless MCP request. It has an idempotency key in any case, so that it may be sent again after a lost answer."""
    where = "" if toolset is None else f"/{check_name(toolset, 'a toolset')}"
    meta = {
        "io.modelcontextprotocol/protocolVersion": _MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": _MCP_VERSION,
        "MCP-Method": "tools/call",
        "MCP-Name": name,
        "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
    }
    body = dump({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return Request("POST", f"/s/{session}/mcp{where}", _read_tool_result, headers, body, repeatable=True)


def _read_tool_result(response: httpx.Response) -> ToolResult:
    message = _answer(response)
    if "error" in message:
        error = message["error"]
        data = error.get("data") or {}
        raise refused(response.status_code, {**data, "detail": error.get("message", "")})
    result = message["result"]
    text = "\n".join(part["text"] for part in result.get("content", []) if part.get("type") == "text")
    is_replayed = response.headers.get("idempotency-replayed") == "true"
    return ToolResult(text, bool(result.get("isError")), is_replayed, result)


def _answer(response: httpx.Response) -> dict[str, Any]:
    """The message with our id: the whole body, or one event of a stream (which others may come before)."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return dict(response.json())
    for line in response.text.splitlines():
        if line.startswith("data:"):
            message = json.loads(line[5:])
            if message.get("id") == 1 and ("result" in message or "error" in message):
                return dict(message)
    raise Error("the stream ended before its answer")
