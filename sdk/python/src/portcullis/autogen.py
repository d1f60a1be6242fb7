"""The state of AutoGen's agents and teams in the gateway.

    from portcullis import AsyncClient
    from portcullis.autogen import load, save

    session = AsyncClient().session("claim-99")
    await save(session, team)          # after a run
    await load(session, team)          # in another process; tells whether there was something

AutoGen makes the state itself (`save_state`); here it becomes one value of the session's scratchpad, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from portcullis._request import check_name
from portcullis._state_requests import Expect
from portcullis.aio import AsyncSession
from portcullis.errors import Conflict

_PREFIX = "autogen."


class Stateful(Protocol):
    """What AutoGen's agents and teams have in common."""

    @property
    def name(self) -> str: ...

    async def save_state(self) -> Mapping[str, Any]: ...

    async def load_state(self, state: Mapping[str, Any]) -> None: ...


class StateKeeper:
    """Saves and loads one agent or team, and notices when somebody else has saved it meanwhile.

    Two processes that both loaded a state and both save theirs would lose one of them: the second `save` raises `Conflict`.
    Don't save a team while it runs: AutoGen makes no promise for what it tells then.
    """

    def __init__(self, session: AsyncSession, subject: Stateful, key: str | None = None) -> None:
        self._state = session.state
        self._subject = subject
        self._key = check_name(_PREFIX + (key or subject.name), "a value")
        self._version: int | None = None

    async def load(self) -> bool:
        """Loads what was saved last; tells whether there was something."""
        found = await self._state.read(self._key)
        if found is None:
            self._version = None
            return False
        await self._subject.load_state(found.value)
        self._version = found.version
        return True

    async def save(self) -> int:
        """Saves the state over the one that was loaded or saved by this before, and tells its version."""
        state = await self._subject.save_state()
        expect = Expect.ABSENT if self._version is None else self._version
        self._version = await self._state.put(self._key, state, expect=expect)
        return self._version


async def save(session: AsyncSession, subject: Stateful, key: str | None = None) -> int:
    """Saves the state, whatever was saved before. `key` is the name of the agent or team where it is not given."""
    value = await subject.save_state()
    return await session.state.put(check_name(_PREFIX + (key or subject.name), "a value"), value, repeatable=True)


async def load(session: AsyncSession, subject: Stateful, key: str | None = None) -> bool:
    """Loads what was saved last; tells whether there was something."""
    return await StateKeeper(session, subject, key).load()


__all__ = ["Conflict", "StateKeeper", "Stateful", "load", "save"]
