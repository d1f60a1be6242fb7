"""An agent of Agent2Agent 1.0, by the official Python library, over JSON-RPC and HTTP+JSON. The argument is its port.

With a second port it is called by gRPC there, and shows only its card at the first. Its card is signed with a key that tests know,
and it sends news to webhooks. `direct` is answered by a message, `wait` by a task that needs more input, everything else by a task
that is done.
"""

import asyncio
import sys

import grpc
import httpx
import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import a2a_pb2 as types
from a2a.types import a2a_pb2_grpc
from a2a.utils.signing import create_agent_card_signer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import ParseDict
from starlette.applications import Starlette

PORT = int(sys.argv[1])
GRPC_PORT = int(sys.argv[2]) if len(sys.argv) > 2 else None
BASE = f"http://127.0.0.1:{PORT}"
CARD = {
    "name": "adjuster",
    "description": "Adjusts claims.",
    "version": "1",
    "capabilities": {"streaming": True, "pushNotifications": True},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "s", "name": "n", "description": "d", "tags": ["t"]}],
    "supportedInterfaces": [
        {"url": BASE + "/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": BASE, "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
    ]
    if GRPC_PORT is None
    else [{"url": f"127.0.0.1:{GRPC_PORT}", "protocolBinding": "GRPC", "protocolVersion": "1.0"}],
}


class Executor(AgentExecutor):
    async def execute(self, context, queue):
        text = context.get_user_input()
        part = types.Part(text="echo " + text)
        if text.startswith("direct"):
            said = types.Message(
                message_id="r", role=types.ROLE_AGENT, context_id=context.context_id, parts=[part]
            )
            await queue.enqueue_event(said)
            return
        if not context.current_task:
            state = types.TaskStatus(state=types.TASK_STATE_SUBMITTED)
            task = types.Task(
                id=context.task_id, context_id=context.context_id, status=state, history=[context.message]
            )
            await queue.enqueue_event(task)
        updater = TaskUpdater(queue, context.task_id, context.context_id)
        await updater.start_work()
        await updater.add_artifact([part], name="result")
        if text.startswith("wait"):
            await updater.requires_input(updater.new_agent_message([types.Part(text="more?")]))
        else:
            await updater.complete()

    async def cancel(self, context, queue):
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


HEADER = {"kid": "agent-1", "alg": "EdDSA", "typ": "JOSE", "jku": None}
key = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
card = create_agent_card_signer(key, HEADER)(ParseDict(CARD, types.AgentCard()))
places = InMemoryPushNotificationConfigStore()
handler = DefaultRequestHandler(
    agent_executor=Executor(),
    task_store=InMemoryTaskStore(),
    agent_card=card,
    push_config_store=places,
    push_sender=BasePushNotificationSender(httpx.AsyncClient(timeout=30), places),
)
routes = create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/rpc") + create_rest_routes(handler)
app = Starlette(routes=routes)


async def main() -> None:
    if GRPC_PORT is not None:
        by_grpc = grpc.aio.server()
        a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), by_grpc)
        by_grpc.add_insecure_port(f"127.0.0.1:{GRPC_PORT}")
        await by_grpc.start()
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=PORT, log_level="warning")).serve()


asyncio.run(main())
