"""Client sessions (Ongaro's thesis, §6.3): a command that is sent again is applied once.

A client numbers its commands and has one under way. The number and the result of its last one are
part of the replicated state, so that every leader knows them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from labkit.protocols.effects import Command, Effects, Message, Send
from labkit.protocols.raft.election import LEADER
from labkit.protocols.raft.messages import Entry
from labkit.protocols.raft.transfer import Transfer


class ClientRequest(Message, frozen=True):
    serial: int
    command: Command


class ClientReply(Message, frozen=True):
    """Not `done`: ask `leader`, or anybody when that is None."""

    serial: int
    done: bool
    result: Any = None
    leader: int | None = None


class Request(Struct, Command, frozen=True, tag=True):
    """A command of the log, with the client's name and number on it."""

    client: int
    serial: int
    command: Command


class Sessions(Transfer):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.sessions: dict[int, tuple[int, Any]] = {}  # by client: last serial, its result
        super().__init__(*arguments, **settings)
        # Volatile state on leaders
        self.under_way: dict[int, int] = {}  # by client: the serial that is in the log already

    def on_client_request(self, client: int, m: ClientRequest) -> Effects:
        if self.role != LEADER:
            yield Send(client, ClientReply(m.serial, False, leader=self.leader))
            return
        serial, result = self.sessions.get(client, (-1, None))
        if m.serial == serial:
            yield Send(client, ClientReply(serial, True, result))
        elif self.transfer_to is None and m.serial > max(serial, self.under_way.get(client, -1)):
            self.under_way[client] = m.serial
            yield from self.propose(Request(client, m.serial, m.command))

    def become_leader(self) -> Effects:
        self.under_way = {}
        yield from super().become_leader()

    def apply(self, index: int, entry: Entry) -> Effects:
        request = entry.command
        if not isinstance(request, Request):
            yield from super().apply(index, entry)
            return
        serial, result = self.sessions.get(request.client, (-1, None))
        if request.serial > serial:
            result = self.machine.apply(request.command)
            self.sessions[request.client] = request.serial, result
        if self.role == LEADER and request.serial >= serial:
            yield Send(request.client, ClientReply(request.serial, True, result))

    def state(self) -> Any:
        sessions = [(client, *last) for client, last in sorted(self.sessions.items())]
        return super().state() | {"sessions": sessions}

    def restore(self, state: Any) -> None:
        self.sessions = {client: (serial, result) for client, serial, result in state["sessions"]}
        super().restore(state)
