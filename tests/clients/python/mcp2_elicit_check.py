"""The official Python client of both eras (mcp 2.x) asks whoever is in front of it. See elicit_scenario.py."""

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from elicit_scenario import HEADERS, URL, walk
from scenario import MODERN, run


def player(mode: str):
    async def main() -> None:
        asked, replies = [], []

        async def elicit(context, params):
            asked.append(params.message)
            action, content = replies.pop(0)
            return ElicitResult(action=action, content=content)

        async with httpx2.AsyncClient(headers=HEADERS, timeout=30) as http:
            transport = streamable_http_client(URL, http_client=http)
            async with Client(transport, mode=mode, elicitation_callback=elicit) as client:

                async def call(arguments, reply):
                    replies.append(reply)
                    result = await client.call_tool("tools__record", arguments)
                    return "".join(block.text for block in result.content), result.is_error

                await walk(f"python mcp 2, {mode},", call, asked)

    return main


run(player("legacy"), player("auto"), player(MODERN))
