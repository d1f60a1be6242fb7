"""The official Python client (mcp 1.x) without a key: it finds the authorization server by the gateway's metadata, gets a token and comes in.

PORTCULLIS_URL says where the gateway is; its issuer registers every client and asks nobody for a password.
"""

import os
from urllib.parse import parse_qs, urlparse

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from scenario import check, run

URL = os.environ["PORTCULLIS_URL"].rstrip("/") + "/mcp"
CALLBACK = "http://127.0.0.1:9/callback"


class Memory:
    """Keeps what the client was given."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def main() -> None:
    memory, answered = Memory(), {}

    async def redirect(url: str) -> None:
        asked = parse_qs(urlparse(url).query)
        check("the client asks for a token for this gateway", asked.get("resource") == [URL], asked)
        async with httpx.AsyncClient(timeout=30) as http:
            location = (await http.get(url)).headers["location"]
        answered.update({name: values[0] for name, values in parse_qs(urlparse(location).query).items()})

    async def callback() -> tuple[str, str | None]:
        return answered["code"], answered.get("state")

    metadata = OAuthClientMetadata(
        client_name="check",
        redirect_uris=[AnyUrl(CALLBACK)],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    auth = OAuthClientProvider(URL, metadata, memory, redirect, callback)
    async with (
        httpx.AsyncClient(auth=auth, timeout=30) as http,
        streamable_http_client(URL, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        check("the client was sent to the issuer and came back with a token", memory.tokens is not None)
        names = [tool.name for tool in (await session.list_tools()).tools]
        check("what its claims allow is listed", "tools__echo" in names, names)
        said = await session.call_tool("tools__echo", {"text": "hello"})
        check("a tool can be called", "hello" in said.content[0].text, said)
        denied = await session.call_tool("tools__record", {"id": "x", "value": 50000})
        check("what its claims do not allow is refused", "Limit Exceeded" in denied.content[0].text, denied)


run(main)
