"""Carries a session into the clients of others. None of them is imported here: these are the arguments that they take.

    openai.OpenAI(**openai_arguments(session))
    langchain_openai.ChatOpenAI(model="gpt-4o", **langchain_arguments(session))
    autogen_ext.models.openai.OpenAIChatCompletionClient(model="gpt-4o", **openai_arguments(session))
    crewai.LLM(model="openai/gpt-4o", **openai_arguments(session))
    langchain_mcp_adapters.client.MultiServerMCPClient({"tools": mcp_connection(session)})

For the `mcp` package: give `session.mcp_url` and `session.headers` to its HTTP transport.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from portcullis.aio import AsyncSession
from portcullis.session import Session


class OpenAIArguments(TypedDict):
    """What OpenAI clients take."""

    base_url: str
    api_key: str


class MCPConnection(TypedDict):
    """What clients of several MCP servers take for one of them."""

    transport: Literal["streamable_http"]
    url: str
    headers: dict[str, str]


def openai_arguments(session: Session | AsyncSession) -> OpenAIArguments:
    """For OpenAI's own client and everything that is built on it."""
    return {"base_url": session.openai_base_url, "api_key": session.client.key}


def langchain_arguments(session: Session | AsyncSession) -> dict[str, Any]:
    """For `langchain_openai.ChatOpenAI`, which by itself might choose another API than chat completions."""
    return {**openai_arguments(session), "use_responses_api": False}


def mcp_connection(session: Session | AsyncSession, toolset: str | None = None) -> MCPConnection:
    """For clients of several MCP servers. Without a toolset: all tools that the principal may see."""
    url = session.mcp_url if toolset is None else session.toolset_url(toolset)
    return {"transport": "streamable_http", "url": url, "headers": session.client.headers}
