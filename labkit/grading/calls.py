"""Calls into a jail, and what may come back from them.

A call crosses as a message. While it runs, the answer's code may ask ports, which are the grader's
own objects; then its value comes, or its error. Every message is taken for what a liar might send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from labkit.collectives.link import Link
from labkit.collectives.trace import Stuck
from labkit.grading.inside.channel import Channel, Ended, Garbled, Late
from labkit.grading.inside.values import pack, unpack
from labkit.grading.ports import LinkPort, Port
from labkit.simulator.disk import PowerFailure

TEXT, LINES = 600, 6
"""Characters and lines of an error that are kept."""


class StudentError(Exception):
    """The answer raised. `kind` is the class of its error, `lines` those of the cell."""

    def __init__(self, kind: str, text: str, lines: Sequence[str] = ()) -> None:
        self.kind, self.text = kind[:TEXT], text[:TEXT]
        self.lines = [line[:TEXT] for line in lines[:LINES]]
        super().__init__(f"{self.kind}{f': {self.text}' if text else ''}")


class PortError(Exception):
    """The answer has asked a port for what the port cannot do."""


EXPECTED = (Stuck, PowerFailure)
"""What checks provoke through a port. Any other error in one comes from what it was asked for."""
GROUP = object()
"""Stands for the link over Gloo that the ranks of a jail have made."""


class Call:
    """One call of the student's function at one rank."""

    def __init__(self, channel: Channel, arguments: tuple) -> None:
        self.channel, self.arguments = channel, arguments
        self.ports: list[Any] = []
        self.tensors: list[torch.Tensor] = []

    def port(self, value: Any) -> Any:
        """The form in which a port crosses; tensors are kept, since they come back."""
        if value is GROUP:
            return {"group": None}
        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
            return None
        if isinstance(value, Link):
            self.ports.append(LinkPort(value))
            return {"link": [len(self.ports) - 1, value.rank, value.size]}
        if isinstance(value, Port):
            self.ports.append(value)
            return {"object": [len(self.ports) - 1, value.methods, pack(value.values)]}
        return None

    def run(self) -> Any:
        self.channel.send("call", pack(list(self.arguments), self.port))
        raised: Exception | None = None
        while True:
            answer = self.channel.receive()
            if answer[0] != "ask":
                break
            try:
                reply = "reply", pack(self.asked(*answer[1:]))
            except (Ended, Late, Garbled):
                raise
            except Exception as error:
                raised = error if isinstance(error, EXPECTED) else PortError(said(error))
                reply = "raise", said(error)
            self.channel.send(*reply)
        if raised is not None:
            raise raised
        _, value, state = raise_if(answer, "value")
        self.fill(state)
        return decoded(value)

    def asked(self, port: Any, method: Any, arguments: Any, state: Any) -> Any:
        self.fill(state)
        if type(port) is not int or not 0 <= port < len(self.ports):
            raise Garbled("it asks for a port that it was not given")
        target = self.ports[port]
        allowed = ["start", "wait"] if isinstance(target, LinkPort) else target.methods
        if method not in allowed:
            raise Garbled("it asks for a method that it was not given")
        return getattr(target, method)(*decoded(arguments))

    def fill(self, state: Any) -> None:
        if type(state) is not list or len(state) != len(self.tensors):
            raise Garbled("the tensors that came back are not those that were sent")
        for tensor, tree in zip(self.tensors, state, strict=True):
            got = decoded(tree)
            if not isinstance(got, torch.Tensor) or got.shape != tensor.shape:
                raise Garbled("a tensor came back in another shape")
            tensor.copy_(got)


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:TEXT]


def decoded(tree: Any) -> Any:
    try:
        return unpack(tree)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"what came from the jail is no value: {error}") from None


def raise_if(answer: list[Any], wanted: str) -> list[Any]:
    """`answer`, if it is what is wanted. Raises StudentError for what the answer's code raised."""
    lengths = {"loaded": 1, "value": 3}
    if answer[0] == wanted and len(answer) == lengths[wanted]:
        return answer
    if answer[0] == "raised" and len(answer) == 4 and type(answer[3]) is list:
        raise StudentError(str(answer[1]), str(answer[2]), [str(line) for line in answer[3]])
    raise Garbled("what came from the jail is not an answer")
