"""The official Python client of Agent2Agent 1.0 sends messages that a person must say yes to, and says yes in it. See a2a_scenario.py for the environment."""

import asyncio

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as types
from google.protobuf import json_format

from a2a_scenario import BASE, BINDING, CONTEXT, channel, check, headers, refused


def decision(word: str):
    return json_format.ParseDict({"data": {"decision": word}}, types.Part())


def message(part, **more):
    said = types.Message(message_id="m-1", role=types.ROLE_USER, parts=[part], **more)
    return types.SendMessageRequest(message=said)


async def walk(http: httpx.AsyncClient, streaming: bool) -> None:
    mode = "stream" if streaming else "whole"
    card = await A2ACardResolver(http, BASE).get_agent_card()
    config = ClientConfig(
        streaming=streaming, httpx_client=http, supported_protocol_bindings=[BINDING], grpc_channel_factory=channel
    )
    client = ClientFactory(config).create(card)

    async def send(part, **more):
        return [event async for event in client.send_message(message(part, **more))]

    async def known(id: str):
        return await client.get_task(types.GetTaskRequest(id=id))

    for word, state in (("approve", types.TASK_STATE_COMPLETED), ("deny", types.TASK_STATE_REJECTED)):
        context = f"{CONTEXT}-{mode}-{word}"
        first = await send(types.Part(text="hello"), context_id=context)
        task = first[0].task
        check(f"{mode} {word}: the message waits as a task", task.status.state == types.TASK_STATE_INPUT_REQUIRED, first)
        parts = task.status.message.parts
        check(f"{mode} {word}: which says in words what it waits for", "approval" in parts[0].text, task)
        asked = json_format.MessageToDict(parts[1])["data"]
        check(f"{mode} {word}: and for programs", asked["decisions"] == ["approve", "deny"], asked)
        check(f"{mode} {word}: and is found again", (await known(task.id)).status.state == task.status.state, task)
        await send(decision(word), context_id=context, task_id=task.id)
        over = await known(task.id)
        for _ in range(600):
            if over.status.state == state:
                break
            await asyncio.sleep(0.1)
            over = await known(task.id)
        check(f"{mode} {word}: it ends as it was decided", over.status.state == state, over)
        made = [part.text for artifact in over.artifacts for part in artifact.parts]
        check(f"{mode} {word}: with what the agent has made", made == (["hello"] if word == "approve" else []), over)
    task = (await send(types.Part(text="hello"), context_id=f"{CONTEXT}-{mode}-back"))[0].task
    back = await client.cancel_task(types.CancelTaskRequest(id=task.id))
    check(f"{mode}: it is taken back", back.status.state == types.TASK_STATE_CANCELED, back)
    again = client.cancel_task(types.CancelTaskRequest(id=task.id))
    await refused(f"{mode}: once", again, "cancel")


async def main() -> None:
    async with httpx.AsyncClient(timeout=30, headers=headers()) as http:
        for streaming in (True, False):
            await walk(http, streaming)


asyncio.run(main())
