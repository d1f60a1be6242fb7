"""A server by the official Python library (mcp 2.x) that speaks both eras and counts calls in each of its sessions. The argument is its port.

In the stateless era there are no sessions: what is called there is counted under no name.
"""

import sys
from collections import Counter

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("counter")
counts = Counter()


@server.tool()
def count(ctx: Context) -> str:
    session = (ctx.headers or {}).get("mcp-session-id", "")
    counts[session] += 1
    return f"{counts[session]} of {len(counts)}"


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
