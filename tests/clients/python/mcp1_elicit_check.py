"""The official Python client of the session era (mcp 1.x) asks whoever is in front of it. See elicit_scenario.py."""

import httpx
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

from elicit_scenario import HEADERS, URL, walk
from scenario import run


async def main() -> None:
    asked, replies = [], []

    async def elicit(context, params):
        asked.append(params.message)
        action, content = replies.pop(0)
        return types.ElicitResult(action=action, content=content)

    async with (
        httpx.AsyncClient(headers=HEADERS, timeout=30) as http,
        streamable_http_client(URL, http_client=http) as (read, write, _),
        ClientSession(read, write, elicitation_callback=elicit) as session,
    ):
        await session.initialize()

        async def call(arguments, reply):
            replies.append(reply)
            result = await session.call_tool("tools__record", arguments)
            return "".join(block.text for block in result.content), result.isError

        await walk("python mcp 1", call, asked)


run(main)
