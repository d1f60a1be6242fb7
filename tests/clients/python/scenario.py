"""What every MCP client must be able to do through the gateway, told once for all Python clients.

PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom, PORTCULLIS_SERVER which server's tools are used (default
`everything`). DENIED_TOOL, when set, names a tool (as listed at /mcp) that the policy refuses to this key; DENIED_ARGS is
the JSON object it is called with.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any, AsyncContextManager, Awaitable, Callable

URL = os.environ.get("PORTCULLIS_URL", "http://127.0.0.1:4040").rstrip("/")
KEY = os.environ.get("PORTCULLIS_KEY", "")
SERVER = os.environ.get("PORTCULLIS_SERVER", "everything")
DENIED_TOOL = os.environ.get("DENIED_TOOL")
DENIED_ARGS = json.loads(os.environ.get("DENIED_ARGS", "{}"))
MODERN, LEGACY = "2026-07-28", "2025-11-25"
STEP_SECONDS = 180


class Failed(Exception):
    """A check saw something else than it demands."""


def check(sentence: str, holds: bool, seen: Any = None) -> None:
    if not holds:
        raise Failed(f"{sentence}; saw {seen!r}")
    print("ok", sentence, flush=True)


@dataclass
class Answer:
    text: str
    is_error: bool
    structured: Any = None


@dataclass
class Peer:
    """One connected client, whatever its library calls things."""

    version: str
    names: Callable[[], Awaitable[list[str]]]
    call: Callable[[str, dict[str, Any]], Awaitable[Answer]]
    resources: Callable[[], Awaitable[list[str]]]  # the URIs
    templates: Callable[[], Awaitable[list[str]]]
    read: Callable[[str], Awaitable[str]]  # the text of the one piece of content
    error: type[Exception]  # how the library reports a JSON-RPC error
    code: Callable[[Exception], int]  # and its number
    ping: Callable[[], Awaitable[Any]] | None = field(default=None)


Connect = Callable[[str, str], AsyncContextManager[Peer]]  # (url, key)


async def walk(who: str, connect: Connect, version: str) -> None:
    async with connect(f"{URL}/mcp", KEY) as peer:
        check(f"{who} negotiates {version}", peer.version == version, peer.version)
        await use(who, peer, f"{SERVER}__")
        await be_refused(who, peer)
        if peer.ping:
            await peer.ping()
            check(f"{who} gets a pong", True)
    async with connect(f"{URL}/mcp/{SERVER}", KEY) as peer:
        await use(f"{who} at /mcp/{SERVER}", peer, "")
    session = "".join(letter for letter in who if letter.isalnum())
    async with connect(f"{URL}/s/{session}-{SERVER}/mcp", KEY) as peer:
        await remember(who, peer, -32602 if version == MODERN else -32002)
    await be_shut_out(who, connect)


async def remember(who: str, peer: Peer, not_found: int) -> None:
    note = "portcullis://session/state/note"
    put = await peer.call("portcullis__state_put", {"key": "note", "value": {"grüße": [1, 2.5]}})
    check(f"{who} notes something down", not put.is_error and (put.structured or {}).get("version") == 1, put)
    listed = await peer.resources()
    check(f"{who} lists what its session remembers", listed == ["portcullis://session/history", note], listed)
    templates = await peer.templates()
    check(f"{who} lists the templates", "portcullis://session/state/{key}" in templates, templates)
    text = await peer.read(note)
    check(f"{who} reads it as a resource", json.loads(text) == {"grüße": [1, 2.5]}, text)
    history = await peer.read("portcullis://session/history")
    check(f"{who} reads the history", json.loads(history) == {"messages": []}, history)
    try:
        nothing = await peer.read(note + "s")
    except peer.error as error:
        return check(f"{who} learns that there is no such resource", peer.code(error) == not_found, error)
    raise Failed(f"{who} learns that there is no such resource; saw {nothing!r}")


async def use(who: str, peer: Peer, prefix: str) -> None:
    names = await peer.names()
    wanted = {prefix + name for name in ("echo", "get-sum", "get-structured-content")}
    check(f"{who} lists {prefix}echo and its siblings", wanted <= set(names), names)
    check(f"{who} lists no name twice", len(set(names)) == len(names), names)

    echo = await peer.call(prefix + "echo", {"message": "grüße, 世界"})
    check(f"{who} gets its echo back", not echo.is_error and echo.text == "Echo: grüße, 世界", echo)
    total = await peer.call(prefix + "get-sum", {"a": 2, "b": 3})
    check(f"{who} gets a sum", not total.is_error and "is 5" in total.text, total)
    weather = await peer.call(prefix + "get-structured-content", {"location": "Chicago"})
    check(f"{who} gets structured content", (weather.structured or {}).get("temperature") == 36, weather)

    many = await asyncio.gather(*(peer.call(prefix + "echo", {"message": str(n)}) for n in range(16)))
    check(f"{who} gets 16 parallel answers unmixed", [a.text for a in many] == [f"Echo: {n}" for n in range(16)], many)
    wrong = await peer.call(prefix + "echo", {"massage": 1})
    check(f"{who} reads that its arguments are wrong", wrong.is_error and wrong.text != "", wrong)


async def be_refused(who: str, peer: Peer) -> None:
    try:
        unknown = await peer.call(f"{SERVER}__no-such-tool", {})
        check(f"{who} learns that a tool is unknown", unknown.is_error and unknown.text != "", unknown)
    except peer.error as error:
        check(f"{who} learns that a tool is unknown", "no-such-tool" in str(error), error)
    if DENIED_TOOL:
        denied = await peer.call(DENIED_TOOL, DENIED_ARGS)
        check(f"{who} can read why {DENIED_TOOL} is denied: {denied.text!r}", denied.is_error and denied.text != "", denied)
    after = await peer.call(f"{SERVER}__echo", {"message": "still here"})
    check(f"{who} goes on after a refusal", after.text == "Echo: still here", after)


async def be_shut_out(who: str, connect: Connect) -> None:
    try:
        async with connect(f"{URL}/mcp", KEY + "-wrong") as peer:
            await peer.names()
    except Exception:
        return check(f"{who} is shut out with a wrong key", True)
    raise Failed(f"{who} is shut out with a wrong key; saw it let in")


def run(*walks: Callable[[], Awaitable[None]]) -> None:
    async def all_of_them() -> None:
        for one in walks:
            await asyncio.wait_for(one(), STEP_SECONDS)

    try:
        asyncio.run(all_of_them())
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.exit(f"FAILED {error if isinstance(error, Failed) else f'{type(error).__name__}: {error}'}")
