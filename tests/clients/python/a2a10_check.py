"""The official Python client of Agent2Agent 1.0 against the gateway. See a2a_scenario.py for the environment."""

import asyncio

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as types

from a2a_scenario import BASE, BINDING, CONTEXT, channel, check, headers, refused


async def open_client(http: httpx.AsyncClient, streaming: bool, key: str = "PORTCULLIS_KEY"):
    card = await A2ACardResolver(http, BASE).get_agent_card()
    config = ClientConfig(
        streaming=streaming,
        httpx_client=http,
        supported_protocol_bindings=[BINDING],
        grpc_channel_factory=lambda url: channel(url, key),
    )
    return ClientFactory(config).create(card)


def message(text: str, **more):
    said = types.Message(message_id="m-1", role=types.ROLE_USER, parts=[types.Part(text=text)], **more)
    return types.SendMessageRequest(message=said)


async def walk(client, other, mode: str) -> None:
    async def send(text, **more):
        return [event async for event in client.send_message(message(text, **more))]

    async def everything(stream):
        return [event async for event in stream]

    said = (await send("direct hi", context_id=CONTEXT))[0].message
    check(f"{mode}: a message is answered by a message", said.parts[0].text == "echo direct hi", said)
    check(f"{mode}: in the same context", said.context_id == CONTEXT, said)
    events = await send("hello", context_id=CONTEXT)
    task = await client.get_task(types.GetTaskRequest(id=events[0].task.id))
    check(f"{mode}: a task is done", task.status.state == types.TASK_STATE_COMPLETED, task)
    check(f"{mode}: and has made something", task.artifacts[0].parts[0].text == "echo hello", task)
    check(f"{mode}: it is in the context", task.context_id == CONTEXT, task)
    first = (await send("wait"))[0].task
    check(f"{mode}: a context is made where none is named", first.context_id.startswith("ses_"), first)
    waiting = await client.get_task(types.GetTaskRequest(id=first.id))
    check(f"{mode}: a task waits", waiting.status.state == types.TASK_STATE_INPUT_REQUIRED, waiting)
    check(f"{mode}: and speaks of itself by its name", waiting.status.message.task_id == first.id, waiting)
    missing = "TaskNotFound"
    await refused(f"{mode}: nobody else finds it", other.get_task(types.GetTaskRequest(id=first.id)), missing)
    await refused(f"{mode}: or cancels it", other.cancel_task(types.CancelTaskRequest(id=first.id)), missing)
    if mode == "stream":
        subscribe = everything(other.subscribe(types.SubscribeToTaskRequest(id=first.id)))
        await refused(f"{mode}: or hears of it", subscribe, missing)
    await send("more", context_id=first.context_id, task_id=first.id)
    more = await client.get_task(types.GetTaskRequest(id=first.id))
    check(f"{mode}: it goes on with a second message", more.status.state == types.TASK_STATE_COMPLETED, more)
    second = (await send("wait", context_id=CONTEXT))[0].task
    cancelled = await client.cancel_task(types.CancelTaskRequest(id=second.id))
    check(f"{mode}: a task is cancelled", cancelled.status.state == types.TASK_STATE_CANCELED, cancelled)
    await refused(f"{mode}: a task that is not there", client.get_task(types.GetTaskRequest(id="nope")), missing)
    place = types.TaskPushNotificationConfig(task_id=first.id, id="p", url="https://hook.example")
    wish = client.create_task_push_notification_config(place)
    await refused(f"{mode}: news are not pushed", wish, "push")


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
