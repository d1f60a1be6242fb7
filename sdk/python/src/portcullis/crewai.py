"""The state of CrewAI's flows in the gateway.

    from crewai.flow.persistence import persist
    from portcullis.crewai import PortcullisPersistence

    @persist(PortcullisPersistence())                    # PORTCULLIS_URL, PORTCULLIS_KEY
    class Review(Flow[ReviewState]): ...

    Review().kickoff(inputs={"id": "claim-99"})          # continues what was saved under this id

One flow is one session: the flow's id is its name. The last state and a pending question to a human are values of its
scratchpad; the states before are in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crewai.flow.persistence.base import FlowPersistence
from pydantic import BaseModel, Field, PrivateAttr

from portcullis.client import Client
from portcullis.errors import NotFound
from portcullis.session import State

if TYPE_CHECKING:
    from crewai.flow.async_feedback.types import PendingFeedbackContext

_STATE = "crewai.state"
_PENDING = "crewai.pending"


class PortcullisPersistence(FlowPersistence):
    """Keeps the state of flows in the sessions of a gateway.

    Without a client, one is made from `PORTCULLIS_URL` and `PORTCULLIS_KEY`. The key is no field, so that it is in nothing
    that CrewAI writes down about a flow.
    """

    persistence_type: str = Field(default="PortcullisPersistence")
    _client: Client = PrivateAttr()

    def __init__(self, client: Client | None = None, /, **fields: Any) -> None:
        super().__init__(**fields)
        self._client = client or Client()

    def init_db(self) -> None:
        """The gateway needs no preparation: a session is opened by the first write."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel) -> None:
        """Stores the state that the flow has after that method."""
        self._state(flow_uuid).put(_STATE, {"method": method_name, "state": _plain(state_data)}, repeatable=True)

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The state that was stored last."""
        found = self._state(flow_uuid).get(_STATE)
        return None if found is None else dict(found["state"])

    def save_pending_feedback(
        self, flow_uuid: str, context: PendingFeedbackContext, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Stores the state together with the question that a human is to answer."""
        state = _plain(state_data)
        self.save_state(flow_uuid, context.method_name, state)
        pending = {"context": _json(context.to_dict()), "state": state}
        self._state(flow_uuid).put(_PENDING, pending, repeatable=True)

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """The state and the question that waits, if one does."""
        from crewai.flow.async_feedback.types import PendingFeedbackContext  # noqa: PLC0415, it imports flows

        found = self._state(flow_uuid).get(_PENDING)
        if found is None:
            return None
        return dict(found["state"]), PendingFeedbackContext.from_dict(found["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """The question was answered."""
        try:
            self._state(flow_uuid).delete(_PENDING, repeatable=True)
        except NotFound:
            return

    def _state(self, flow_uuid: str) -> State:
        return self._client.session(flow_uuid).state


def _plain(state: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    """The state as JSON has it."""
    return state.model_dump(mode="json") if isinstance(state, BaseModel) else dict(_json(dict(state)))


class _Anything(BaseModel):
    value: Any


def _json(value: Any) -> Any:
    """Dates, models, sets and the like as pydantic writes them; what it can't write is refused."""
    return _Anything(value=value).model_dump(mode="json")["value"]
