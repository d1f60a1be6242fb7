"""The official Python client of both eras (mcp 2.x) against the gateway. See scenario.py for the environment.

Three runs: it asks `server/discover` first and must end up stateless; it is told to be old and shakes hands; it is pinned
to the stateless version and calls without asking anything.
"""

from contextlib import asynccontextmanager

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from scenario import LEGACY, MODERN, Answer, Peer, run, walk


def connector(mode: str):
    @asynccontextmanager
    async def connect(url: str, key: str):
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:

                async def names():
                    return [tool.name for tool in (await client.list_tools()).tools]

                async def call(name, arguments):
                    result = await client.call_tool(name, arguments)
                    text = "".join(block.text for block in result.content if block.type == "text")
                    return Answer(text, result.is_error, result.structured_content)

                async def resources():
                    return [str(resource.uri) for resource in (await client.list_resources()).resources]

                async def templates():
                    listed = await client.list_resource_templates()
                    return [template.uri_template for template in listed.resource_templates]

                async def read(uri):
                    (content,) = (await client.read_resource(uri)).contents
                    return content.text

                reading = (resources, templates, read)
                ping = client.session.send_ping if mode == "legacy" else None
                version = client.protocol_version
                yield Peer(version, names, call, *reading, MCPError, lambda error: error.error.code, ping)

    return connect


run(
    lambda: walk("python mcp 2", connector("auto"), MODERN),
    lambda: walk("python mcp 2, legacy,", connector("legacy"), LEGACY),
    lambda: walk("python mcp 2, pinned,", connector(MODERN), MODERN),
)
