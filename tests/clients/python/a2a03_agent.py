"""An agent of Agent2Agent 0.3, by the official Python library, over JSON-RPC, or over HTTP+JSON alone. The arguments are its port
and, for the latter, `HTTP+JSON`.

With a second port it is called by gRPC there, and shows only its card at the first.

`direct` is answered by a message, `wait` by a task that needs more input, everything else by a task that is done.
"""

import asyncio
import sys

import grpc
import uvicorn
from a2a import types
from a2a.grpc import a2a_pb2_grpc
from a2a.server.agent_execution import AgentExecutor
from a2a.server.apps import A2ARESTFastAPIApplication, A2AStarletteApplication
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.tasks import InMemoryPushNotificationConfigStore, InMemoryTaskStore, TaskUpdater

PORT = int(sys.argv[1])
IS_REST = sys.argv[2:] == ["HTTP+JSON"]
GRPC_PORT = int(sys.argv[2]) if len(sys.argv) > 2 and not IS_REST else None
BASE = f"http://127.0.0.1:{PORT}"
if IS_REST:
    PLACE, TRANSPORT = BASE, "HTTP+JSON"
elif GRPC_PORT is not None:
    PLACE, TRANSPORT = f"127.0.0.1:{GRPC_PORT}", "GRPC"
else:
    PLACE, TRANSPORT = BASE + "/rpc", "JSONRPC"
CARD = types.AgentCard(
    name="adjuster",
    description="Adjusts claims.",
    version="1",
    url=PLACE,
    preferred_transport=TRANSPORT,
    capabilities=types.AgentCapabilities(streaming=True, push_notifications=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[types.AgentSkill(id="s", name="n", description="d", tags=["t"])],
)


def part(text):
    return types.Part(root=types.TextPart(text=text))


class Executor(AgentExecutor):
    async def execute(self, context, queue):
        text = context.get_user_input()
        if text.startswith("direct"):
            said = types.Message(
                message_id="r", role="agent", context_id=context.context_id, parts=[part("echo " + text)]
            )
            await queue.enqueue_event(said)
            return
        if not context.current_task:
            state = types.TaskStatus(state="submitted")
            task = types.Task(
                id=context.task_id, context_id=context.context_id, status=state, history=[context.message]
            )
            await queue.enqueue_event(task)
        updater = TaskUpdater(queue, context.task_id, context.context_id)
        await updater.start_work()
        await updater.add_artifact([part("echo " + text)], name="result")
        if text.startswith("wait"):
            await updater.requires_input(updater.new_agent_message([part("more?")]), final=True)
        else:
            await updater.complete()

    async def cancel(self, context, queue):
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


handler = DefaultRequestHandler(
    agent_executor=Executor(),
    task_store=InMemoryTaskStore(),
    push_config_store=InMemoryPushNotificationConfigStore(),
)
if IS_REST:
    app = A2ARESTFastAPIApplication(agent_card=CARD, http_handler=handler).build()
else:
    app = A2AStarletteApplication(agent_card=CARD, http_handler=handler).build(rpc_url="/rpc")


async def main() -> None:
    if GRPC_PORT is not None:
        by_grpc = grpc.aio.server()
        a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(CARD, handler), by_grpc)
        by_grpc.add_insecure_port(f"127.0.0.1:{GRPC_PORT}")
        await by_grpc.start()
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=PORT, log_level="warning")).serve()


asyncio.run(main())
