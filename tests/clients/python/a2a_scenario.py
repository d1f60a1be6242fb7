"""What clients of Agent2Agent have in common here: where they go, and how they tell what holds.

PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom, PORTCULLIS_AGENT to which agent, PORTCULLIS_BINDING by what,
PORTCULLIS_OTHER_KEY who must not see the tasks.
"""

import os

BASE = f"{os.environ['PORTCULLIS_URL'].rstrip('/')}/a2a/{os.environ['PORTCULLIS_AGENT']}"
BINDING = os.environ["PORTCULLIS_BINDING"]
CONTEXT = f"claim-{BINDING.replace('+', '-').lower()}"


def headers(variable: str = "PORTCULLIS_KEY") -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ[variable]}"}


def channel(url: str, variable: str = "PORTCULLIS_KEY", **metadata: str):
    """A channel of gRPC to the address in a card, with the key in its metadata."""
    import grpc

    class Metadata(grpc.AuthMetadataPlugin):
        def __call__(self, context, callback):
            callback((("authorization", headers(variable)["Authorization"]), *metadata.items()), None)

    call = grpc.metadata_call_credentials(Metadata())
    return grpc.aio.secure_channel(url, grpc.composite_channel_credentials(grpc.local_channel_credentials(), call))


def check(sentence: str, holds: bool, seen=None) -> None:
    assert holds, f"{sentence}; saw {seen!r}"
    print("ok", sentence)


async def refused(sentence: str, wait, *signs: str) -> None:
    """Checks that this fails with an exception that shows one of these signs in its name or its words."""
    try:
        seen = await wait
    except Exception as error:  # whatever the library makes of it
        seen = f"{type(error).__name__}: {error}"
        check(sentence, any(sign.lower() in seen.lower() for sign in signs), seen)
        return
    check(sentence, False, seen)
