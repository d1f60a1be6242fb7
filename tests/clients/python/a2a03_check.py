"""The official Python client of Agent2Agent 0.3 against the gateway. See a2a_scenario.py for the environment."""

import asyncio
import os

import httpx
from a2a import types
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory

from a2a_scenario import BASE, BINDING, CONTEXT, channel, check, headers, refused


async def open_client(http: httpx.AsyncClient, streaming: bool, key: str = "PORTCULLIS_KEY"):
    card = await A2ACardResolver(http, BASE).get_agent_card()
    config = ClientConfig(
        streaming=streaming,
        httpx_client=http,
        supported_transports=[BINDING],
        use_client_preference=True,
        # 0.3 has no tenants: the agent is named beside the request.
        grpc_channel_factory=lambda url: channel(url, key, **{"portcullis-agent": os.environ["PORTCULLIS_AGENT"]}),
    )
    return ClientFactory(config).create(card)


def message(text: str, **more):
    part = types.Part(root=types.TextPart(text=text))
    return types.Message(message_id="m-1", role="user", parts=[part], **more)


async def walk(client, other, mode: str) -> None:
    async def send(text, **more):
        return [event async for event in client.send_message(message(text, **more))]

    async def everything(stream):
        return [event async for event in stream]

    said = (await send("direct hi", context_id=CONTEXT))[0]
    check(f"{mode}: a message is answered by a message", said.parts[0].root.text == "echo direct hi", said)
    check(f"{mode}: in the same context", said.context_id == CONTEXT, said)
    done = (await send("hello", context_id=CONTEXT))[-1][0]
    task = await client.get_task(types.TaskQueryParams(id=done.id))
    check(f"{mode}: a task is done", task.status.state == types.TaskState.completed, task)
    check(f"{mode}: and has made something", task.artifacts[0].parts[0].root.text == "echo hello", task)
    check(f"{mode}: it is in the context", task.context_id == CONTEXT, task)
    first = (await send("wait"))[-1][0]
    check(f"{mode}: a context is made where none is named", first.context_id.startswith("ses_"), first)
    check(f"{mode}: a task waits", first.status.state == types.TaskState.input_required, first)
    missing = ("there is no task", "404")
    found = other.get_task(types.TaskQueryParams(id=first.id))
    await refused(f"{mode}: nobody else finds it", found, *missing)
    await refused(f"{mode}: or cancels it", other.cancel_task(types.TaskIdParams(id=first.id)), *missing)
    if mode == "stream":
        subscribe = everything(other.resubscribe(types.TaskIdParams(id=first.id)))
        # Over HTTP+JSON the library does not read an error where it awaits a stream.
        await refused(f"{mode}: or hears of it", subscribe, *missing, "Invalid SSE response")
    more = (await send("more", context_id=first.context_id, task_id=first.id))[-1][0]
    check(f"{mode}: it goes on with a second message", more.status.state == types.TaskState.completed, more)
    second = (await send("wait", context_id=CONTEXT))[-1][0]
    cancelled = await client.cancel_task(types.TaskIdParams(id=second.id))
    check(f"{mode}: a task is cancelled", cancelled.status.state == types.TaskState.canceled, cancelled)
    config = types.PushNotificationConfig(id="p", url="https://hook.example")
    place = types.TaskPushNotificationConfig(task_id=first.id, push_notification_config=config)
    # Over HTTP+JSON the library shows the status alone.
    await refused(f"{mode}: news are not pushed", client.set_task_callback(place), "pushed", "400 Bad Request")


async def main() -> None:
    async with (
        httpx.AsyncClient(timeout=30, headers=headers()) as http,
        httpx.AsyncClient(timeout=30, headers=headers("PORTCULLIS_OTHER_KEY")) as other,
    ):
        for streaming in (True, False):
            mode = "stream" if streaming else "whole"
            stranger = await open_client(other, streaming, "PORTCULLIS_OTHER_KEY")
            await walk(await open_client(http, streaming), stranger, mode)


asyncio.run(main())
