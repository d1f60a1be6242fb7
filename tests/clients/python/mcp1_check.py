"""The official Python client of the session era (mcp 1.x) against the gateway. See scenario.py for the environment."""

from contextlib import asynccontextmanager

import httpx
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

from scenario import LEGACY, Answer, Peer, run, walk


@asynccontextmanager
async def connect(url: str, key: str):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx.AsyncClient(headers=headers, timeout=30) as http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        hello = await session.initialize()

        async def names():
            return [tool.name for tool in (await session.list_tools()).tools]

        async def call(name, arguments):
            result = await session.call_tool(name, arguments)
            text = "".join(block.text for block in result.content if block.type == "text")
            return Answer(text, result.isError, result.structuredContent)

        async def resources():
            return [str(resource.uri) for resource in (await session.list_resources()).resources]

        async def templates():
            return [template.uriTemplate for template in (await session.list_resource_templates()).resourceTemplates]

        async def read(uri):
            (content,) = (await session.read_resource(AnyUrl(uri))).contents
            return content.text

        reading = (resources, templates, read)
        version = hello.protocolVersion
        yield Peer(version, names, call, *reading, McpError, lambda error: error.error.code, session.send_ping)


run(lambda: walk("python mcp 1", connect, LEGACY))
