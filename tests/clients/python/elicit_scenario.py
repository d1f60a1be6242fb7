"""What comes of a call that whoever is in front of the client is asked about, told once for all Python clients.

PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom; PORTCULLIS_FIRST is the first amount that nobody has paid yet.
"""

import os

from scenario import check

URL = os.environ["PORTCULLIS_URL"].rstrip("/") + "/mcp"
HEADERS = {"Authorization": "Bearer " + os.environ["PORTCULLIS_KEY"], "Portcullis-Session": "claim-9"}
amounts = iter(range(int(os.environ["PORTCULLIS_FIRST"]), 10_000))


async def walk(who, call, asked) -> None:
    for reply, expected in [
        (("accept", {"decision": "approve"}), "recorded x"),
        (("accept", {"decision": "deny", "comment": "too much"}), "has said no: too much"),
        (("decline", None), "has said no"),
        (("cancel", None), "It was asked for as approval"),
    ]:
        amount = next(amounts)
        text, is_error = await call({"id": "x", "value": amount}, reply)
        check(f"{who} is told what comes of {reply[0]}", expected in text and is_error == (text != "recorded x"), text)
        check(f"{who} shows what is asked", f'"value":{amount}' in asked[-1], asked)
    check(f"{who} asks once for each call", len(asked) == 4, asked)
