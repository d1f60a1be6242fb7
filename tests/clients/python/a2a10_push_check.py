"""The official Python library of Agent2Agent 1.0: it verifies the card that the gateway signs, and gets news of a task at a webhook. See a2a_scenario.py for the environment."""

import asyncio
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.types import a2a_pb2 as types
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.json_format import ParseDict
from jwt import PyJWK

from a2a_scenario import BASE, BINDING, check, headers, refused

TOKEN = "client-token"
told: list[tuple[dict, bytes]] = []


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        told.append((dict(self.headers), body))
        # The first delivery is not accepted, and comes again.
        self.send_response(503 if len(told) == 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def signatures(card: types.AgentCard, keys: dict) -> None:
    jwk = {key["kid"]: PyJWK(key) for key in keys["keys"]}
    verify = create_signature_verifier(lambda kid, _: jwk[kid], ["EdDSA"])
    verify(card)
    check("the library verifies the card that the gateway signed", True)
    forged = types.AgentCard()
    forged.CopyFrom(card)
    forged.description = "Pays everything."
    try:
        verify(forged)
        check("and not one that was changed", False)
    except InvalidSignaturesError:
        check("and not one that was changed", True)


def news(keys: dict) -> list[types.StreamResponse]:
    """What was told, each piece once, after its signature (Standard Webhooks, `v1a`) was checked."""
    public = keys["keys"][0]["x"]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(public + "=" * (-len(public) % 4)))
    seen = {}
    for head, body in told:
        head = {name.lower(): value for name, value in head.items()}
        version, signature = head["webhook-signature"].split(",")
        assert version == "v1a" and head["x-a2a-notification-token"] == TOKEN, head
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        public.verify(base64.b64decode(signature), signed)
        seen[head["webhook-id"]] = ParseDict(json.loads(body), types.StreamResponse())
    return list(seen.values())


def state(piece: types.StreamResponse) -> int:
    return piece.status_update.status.state if piece.HasField("status_update") else piece.task.status.state


async def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/news"
    async with httpx.AsyncClient(timeout=30, headers=headers()) as http:
        card = await A2ACardResolver(http, BASE).get_agent_card()
        keys = (await http.get(f"{BASE.split('/a2a/')[0]}/.well-known/jwks.json")).json()
        signatures(card, keys)
        config = ClientConfig(streaming=False, httpx_client=http, supported_protocol_bindings=[BINDING])
        client = ClientFactory(config).create(card)
        place = types.TaskPushNotificationConfig(url=url, token=TOKEN)
        first = types.Message(message_id="m-1", role=types.ROLE_USER, parts=[types.Part(text="wait")])
        wish = types.SendMessageRequest(
            message=first, configuration=types.SendMessageConfiguration(task_push_notification_config=place)
        )
        task = [event async for event in client.send_message(wish)][0].task
        more = types.Message(
            message_id="m-2", role=types.ROLE_USER, parts=[types.Part(text="more")], task_id=task.id,
            context_id=task.context_id,
        )
        [event async for event in client.send_message(types.SendMessageRequest(message=more))]
        for _ in range(600):
            if any(state(piece) == types.TASK_STATE_COMPLETED for piece in news(keys)):
                break
            await asyncio.sleep(0.05)
        pieces = news(keys)
        states = [state(piece) for piece in pieces if not piece.HasField("artifact_update")]
        check("the task is told to need more", types.TASK_STATE_INPUT_REQUIRED in states, states)
        check("and in the end to be done", states[-1] == types.TASK_STATE_COMPLETED, states)
        named = {piece.status_update.task_id or piece.artifact_update.task_id or piece.task.id for piece in pieces}
        check("by the name that the client knows", named == {task.id}, named)
        listed = await client.list_task_push_notification_configs(
            types.ListTaskPushNotificationConfigsRequest(task_id=task.id)
        )
        check("the client sees its own place", [one.url for one in listed.configs] == [url], listed)
        own = types.TaskPushNotificationConfig(task_id=task.id, id="own", url=url, token=TOKEN)
        made = await client.create_task_push_notification_config(own)
        check("another one is made", (made.id, made.url, made.token) == ("own", url, TOKEN), made)
        named = types.GetTaskPushNotificationConfigRequest(task_id=task.id, id="own")
        found = await client.get_task_push_notification_config(named)
        check("and found", found.url == url, found)
        await client.delete_task_push_notification_config(
            types.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="own")
        )
        await refused("until it is deleted", client.get_task_push_notification_config(named), "TaskNotFound")
        own.url = "http://169.254.169.254/"
        await refused("no other host is called", client.create_task_push_notification_config(own), "can't be sent there")


asyncio.run(main())
