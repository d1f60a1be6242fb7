"""LangGraph's checkpoints in the gateway: one thread is one session, one checkpoint is one value of its scratchpad.

    from portcullis import Client
    from portcullis.langgraph import PortcullisSaver

    graph = builder.compile(checkpointer=PortcullisSaver(Client()))
    graph.invoke(..., {"configurable": {"thread_id": "claim-99"}})

Keys are `lg.c.<namespace>.<checkpoint>` for checkpoints and `lg.w.<namespace>.<checkpoint>.<task>` for pending writes, where
the namespace is a digest, as its own name may have characters that keys have not. A checkpoint is one value, so that it is
there as a whole or not at all. What LangGraph's own serialiser makes of it is compressed and written as base64.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from portcullis._request import RETRIES
from portcullis._state_requests import Listed
from portcullis.client import Client
from portcullis.errors import NotFound, OutcomeUnknown, TooLarge, TooMany
from portcullis.session import Session, State

# How many checkpoints are kept of each namespace.
KEEP = 64
# What all values of a session may come to before the oldest checkpoints of any namespace go, too: the gateway allows 1,024
# values and 32 MiB, of which the rest is left to the application.
VALUES = 896
BYTES = 28 * 1024 * 1024
# Pruning asks for all keys, so it is done with the first checkpoint that this process writes of a thread, and then with every
# so-manieth.
PRUNE_EVERY = 8

_CHECKPOINT = "lg.c."
_WRITES = "lg.w."
# Marks checkpoints that lean on those before them (channels that store differences): these are never pruned by themselves.
_LEANING = "+"
# How many characters stand for a namespace or a task in a key.
_DIGEST = 24


@dataclass(frozen=True)
class _Place:
    """Where a checkpoint is."""

    namespace: str
    checkpoint: str
    is_leaning: bool = False

    @property
    def key(self) -> str:
        return f"{_CHECKPOINT}{self.namespace}.{self.checkpoint}{_LEANING if self.is_leaning else ''}"

    @property
    def writes(self) -> str:
        return f"{_WRITES}{self.namespace}.{self.checkpoint}."

    @classmethod
    def read(cls, key: str) -> _Place:
        namespace, _, checkpoint = key.removeprefix(_CHECKPOINT).partition(".")
        return cls(namespace, checkpoint.removesuffix(_LEANING), checkpoint.endswith(_LEANING))


class PortcullisSaver(BaseCheckpointSaver[str]):
    """Keeps a graph's checkpoints in the sessions of a gateway.

    `thread_id` is the name of the session, so it must be one (1 to 128 of A-Z a-z 0-9 . _ - @ +); `session_name` turns other
    ids into names. The last `keep` checkpoints of each namespace are kept. May be used by many threads, tasks and processes
    at once; the asynchronous methods do their work in threads.
    """

    def __init__(
        self,
        client: Client,
        *,
        keep: int = KEEP,
        serde: SerializerProtocol | None = None,
        session_name: Callable[[str], str] = str,
    ) -> None:
        super().__init__(serde=serde)
        if keep < 1:
            raise ValueError("at least one checkpoint must be kept")
        self._client = client
        self._keep = keep
        self._session_name = session_name
        # How many checkpoints this process has written of each thread; and a lock for it.
        self._written: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    # What LangGraph asks for

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that is named, or else the newest of its namespace."""
        state, namespace = self._state(_thread(config)), _digest(_namespace(config))
        checkpoint = get_checkpoint_id(config)
        places = _places(state.list(f"{_CHECKPOINT}{namespace}.{checkpoint or ''}"))
        if checkpoint:
            places = [place for place in places if place.checkpoint == checkpoint]
        if not places:
            return None
        return self._load(state, places[-1], [listed.key for listed in state.list(places[-1].writes)])

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints of a thread, or of all threads of this principal, the newest of each thread first."""
        wanted = get_checkpoint_id(config) if config else None
        end = get_checkpoint_id(before) if before else None
        namespace = config["configurable"].get("checkpoint_ns") if config else None
        scope = "" if namespace is None else f"{_digest(namespace)}."
        for state in [self._state(_thread(config))] if config else self._states():
            writes = _by_place(state.list(_WRITES + scope))
            places = sorted(_places(state.list(_CHECKPOINT + scope)), key=lambda place: place.checkpoint, reverse=True)
            for place in places:
                if (wanted and place.checkpoint != wanted) or (end and place.checkpoint >= end):
                    continue
                if limit is not None and limit <= 0:
                    return
                found = self._load(state, place, writes[place.writes])
                if found and _fits(found.metadata, filter):
                    limit = None if limit is None else limit - 1
                    yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint, whole. Done when the gateway's journal has it on disk."""
        thread, namespace = _thread(config), _namespace(config)
        state = self._state(thread)
        place = _Place(_digest(namespace), checkpoint["id"], bool(metadata.get("counters_since_delta_snapshot")))
        value = {
            "thread": thread,
            "namespace": namespace,
            "parent": get_checkpoint_id(config),
            "metadata": self._dump(get_checkpoint_metadata(config, metadata)),
            "state": self._dump(checkpoint),
        }
        self._store(state, place, value)
        if self._is_due(thread):
            self._prune(state, self._keep, place)
        return _config(thread, namespace, checkpoint["id"])

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Stores what a task has written before its step is done. What is stored of a task stays, but for errors and interrupts."""
        thread = _thread(config)
        place = _Place(_digest(_namespace(config)), config["configurable"]["checkpoint_id"])
        dumped = [(WRITES_IDX_MAP.get(channel, index), channel, self._dump(value)) for index, (channel, value) in enumerate(writes)]
        state, key = self._state(thread), place.writes + _digest(task_id)

        def merge(before: dict[str, Any] | None) -> dict[str, Any]:
            stored = {write["index"]: write for write in (before or {}).get("writes", [])}
            for index, channel, value in dumped:
                if index < 0 or index not in stored:
                    stored[index] = {"index": index, "channel": channel, "value": value}
            return {"task": task_id, "path": task_path, "writes": [stored[index] for index in sorted(stored)]}

        try:
            _merge(state, key, merge)
        except (TooMany, TooLarge):
            self._prune(state, self._keep, place)
            _merge(state, key, merge)

    def delete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints and writes of a thread; the session, its history and its other values stay."""
        state = self._state(str(thread_id))
        _drop(state, [listed.key for listed in [*state.list(_WRITES), *state.list(_CHECKPOINT)]])

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes what these runs have written. All threads of this principal are searched."""
        wanted = set(run_ids)
        for state in self._states() if wanted else ():
            writes = _by_place(state.list(_WRITES))
            for place in _places(state.list(_CHECKPOINT)):
                found = self._load(state, place, [])
                if found and found.metadata.get("run_id") in wanted:
                    _drop(state, [*writes[place.writes], place.key])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints and writes. Checkpoints come last, so that what is there has its writes."""
        source, target = self._state(str(source_thread_id)), self._state(str(target_thread_id))
        for listed in [*source.list(_WRITES), *source.list(_CHECKPOINT)]:
            found = source.read(listed.key)
            if found:
                thread = {"thread": str(target_thread_id)} if listed.key.startswith(_CHECKPOINT) else {}
                target.put(listed.key, {**found.value, **thread}, repeatable=True)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keeps the newest checkpoint of each namespace (`keep_latest`) or nothing (`delete`)."""
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"there is no strategy {strategy!r}")
        for thread in thread_ids:
            if strategy == "delete":
                self.delete_thread(thread)
            else:
                self._prune(self._state(thread), 1, None)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """The next version of a channel: numbers in a form that sorts as text."""
        number = 0 if current is None else current if isinstance(current, int) else int(str(current).partition(".")[0])
        return f"{number + 1:032}"

    # The same, for event loops

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await asyncio.to_thread(next, found, None)) is not None:
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))

    # Below

    def _state(self, thread: str) -> State:
        return self._client.session(self._session_name(thread)).state

    def _states(self) -> Iterator[State]:
        """Of all sessions of this principal. An administrator sees those of others too, and leaves them alone."""
        owner = None
        for listed in self._client.sessions():
            session = self._client.session(listed["name"])
            if owner is None and _is_own(session, listed["id"]):
                owner = listed["owner"]
            if listed["owner"] == owner:
                yield session.state

    def _load(self, state: State, place: _Place, writes: Collection[str]) -> CheckpointTuple | None:
        found = state.read(place.key)
        if found is None:
            return None  # pruned since its key was listed
        value = found.value
        thread, namespace, parent = value["thread"], value["namespace"], value["parent"]
        tasks = [task for key in writes if (task := state.get(key)) is not None]
        pending = sorted(
            ((task, write) for task in tasks for write in task["writes"]),
            key=lambda pair: writes_sort_key(pair[0]["path"], pair[0]["task"], pair[1]["index"]),
        )
        return CheckpointTuple(
            _config(thread, namespace, place.checkpoint),
            cast(Checkpoint, self._read(value["state"])),
            cast(CheckpointMetadata, self._read(value["metadata"])),
            _config(thread, namespace, parent) if parent else None,
            [(task["task"], write["channel"], self._read(write["value"])) for task, write in pending],
        )

    def _dump(self, value: Any) -> Sequence[str]:
        kind, data = self.serde.dumps_typed(value)
        return [kind, base64.b64encode(zlib.compress(data)).decode()]

    def _read(self, dumped: Sequence[str]) -> Any:
        kind, data = dumped
        return self.serde.loads_typed((kind, zlib.decompress(base64.b64decode(data))))

    def _store(self, state: State, place: _Place, value: dict[str, Any]) -> None:
        """The same id is always the same checkpoint, so that writing it twice does no harm."""
        try:
            state.put(place.key, value, repeatable=True)
        except (TooMany, TooLarge):
            # The session is full, perhaps of values that are not ours: make room once, then let the refusal speak.
            self._prune(state, self._keep, place)
            state.put(place.key, value, repeatable=True)

    def _is_due(self, thread: str) -> bool:
        with self._lock:
            self._written[thread] += 1
            return self._written[thread] % PRUNE_EVERY == 1

    def _prune(self, state: State, keep: int, current: _Place | None) -> None:
        """Drops what is beyond `keep` in each namespace, and then the oldest of all until the session has room."""
        everything = [*state.list()]
        sizes = {listed.key: listed.bytes for listed in everything}
        writes = _by_place(listed for listed in everything if listed.key.startswith(_WRITES))
        places = _places(listed for listed in everything if listed.key.startswith(_CHECKPOINT))
        places.sort(key=lambda place: place.checkpoint)
        kept: defaultdict[str, list[_Place]] = defaultdict(list)
        for place in places:
            kept[place.namespace].append(place)
        # Where checkpoints lean on those before them, dropping one could make all after it unreadable.
        leaning = {place.namespace for place in places if place.is_leaning}
        root = kept[_digest("")][-1:]  # where the thread stands: it never goes
        doomed = [place for places in kept.values() for place in places[:-keep] if place.namespace not in leaning]
        rest = [place for place in places if place not in doomed and place.namespace not in leaning]
        rest = [place for place in rest if place not in root and (current is None or place.key != current.key)]

        # What a killed process wrote for a checkpoint that it did not live to store.
        known = {place.writes for place in places}
        oldest = {f"{_WRITES}{namespace}.": places[0].writes for namespace, places in kept.items() if places}
        for lost, keys in writes.items():
            if lost not in known and lost < oldest.get(lost[: len(_WRITES) + _DIGEST + 1], ""):
                _drop(state, _forget(sizes, keys))
        for place in doomed:
            _drop(state, _forget(sizes, [*writes[place.writes], place.key]))
        for place in rest:
            if len(sizes) <= VALUES and sum(sizes.values()) <= BYTES:
                break
            _drop(state, _forget(sizes, [*writes[place.writes], place.key]))


def _thread(config: RunnableConfig) -> str:
    return str(config["configurable"]["thread_id"])


def _namespace(config: RunnableConfig) -> str:
    return str(config["configurable"].get("checkpoint_ns", ""))


def _config(thread: str, namespace: str, checkpoint: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def _places(listed: Iterable[Listed]) -> list[_Place]:
    return [_Place.read(one.key) for one in listed]


def _by_place(listed: Iterable[Listed]) -> defaultdict[str, list[str]]:
    """The keys of writes, by what the keys of a checkpoint's writes begin with."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one in listed:
        found[one.key.rpartition(".")[0] + "."].append(one.key)
    return found


def _fits(metadata: CheckpointMetadata, wanted: dict[str, Any] | None) -> bool:
    return all(cast(dict[str, Any], metadata).get(key) == value for key, value in (wanted or {}).items())


def _is_own(session: Session, identity: str) -> bool:
    try:
        return bool(session.info()["id"] == identity)
    except NotFound:
        return False


def _merge(state: State, key: str, merge: Callable[[Any], Any]) -> None:
    """Merging twice does no harm, so that a lost answer is no reason to stop."""
    for _ in range(RETRIES):
        with contextlib.suppress(OutcomeUnknown):
            state.change(key, merge)
            return
    state.change(key, merge)


def _forget(sizes: dict[str, int], keys: list[str]) -> list[str]:
    for key in keys:
        sizes.pop(key, None)
    return keys


def _drop(state: State, keys: Iterable[str]) -> None:
    """Writes come before their checkpoint, so that none is left behind. What is gone already may be gone."""
    for key in keys:
        with contextlib.suppress(NotFound):
            state.delete(key, repeatable=True)
