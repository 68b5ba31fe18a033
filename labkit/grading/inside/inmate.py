"""The student's function in its jail: takes calls from the grader and says what came of them.

From the grader: `load`, the cell and a name in it; `call`, arguments; `reply` or `raise`, to what a
port was asked; `gloo`, a place in a real process group; `begin` and `handle`, a node of a protocol.
To the grader: `loaded`, `value`, `raised`, `ask` of a port. With a value and each question goes
what stands now in the tensors that came as arguments: an all-reduce, say, works in place.

This code is the student's to break: the grader trusts nothing that comes from here.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from labkit.collectives.link import Link, Message
from labkit.grading.inside.channel import Channel, Ended, Garbled
from labkit.grading.inside.hosted import Hosted
from labkit.grading.inside.values import pack, unpack

TEXT = 600
"""Characters of an error's text that are passed on."""


class AskedError(RuntimeError):
    """What a port raised in the grader, told again in here."""


def serve(channel: Channel) -> None:
    """Answers the grader until it closes the channel."""
    inmate = Inmate(channel)
    channel.send("ready")
    while True:
        try:
            request, *content = channel.receive()
        except Ended:
            return
        try:
            answer = getattr(inmate, f"on_{request}")(*content)
        except (Ended, Garbled):
            return
        except BaseException as error:
            answer = described(error)
        try:
            channel.send(*answer)
        except Garbled as error:  # too large
            channel.send(*described(error))


def described(error: BaseException) -> list[Any]:
    """`raised`, the error's class, its text, and the lines of the cell that it came through."""
    lines = [
        f"line {frame.lineno}, {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith("<")
    ]
    if isinstance(error, SyntaxError):
        lines = [f"line {error.lineno}, {(error.text or '').strip()}"]
    try:
        text = str(error)[:TEXT]
    except Exception:
        text = ""
    return ["raised", str(type(error).__name__), text, lines[-6:]]


class Inmate:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.function: Callable[..., Any] | None = None
        self.cell: tuple[str, str, str] = ("", "", "")
        self.node: Hosted | None = None
        self.tensors: list[Tensor] = []
        self.group: Any = None

    def on_load(self, name: str, source: str, function: str) -> list[Any]:
        self.cell = name, source, function
        where = f"<{name}>"
        # so that tracebacks show the cell's lines
        linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)
        module = type(sys)("cell")
        sys.modules["cell"] = module  # dataclasses look their module up
        exec(compile(source, where, "exec"), module.__dict__)
        if function not in module.__dict__:
            return ["raised", "NameError", f"the cell does not define {function}", []]
        self.function = module.__dict__[function]
        return ["loaded"]

    def on_call(self, tree: Any) -> list[Any]:
        if self.function is None:
            return ["raised", "NameError", "nothing has been loaded", []]
        self.tensors = []
        arguments = unpack(tree, self.arrived)
        value = self.function(*arguments)
        return ["value", pack(value), self.state()]

    def on_begin(self, tree: Any) -> list[Any]:
        """A new life: the cell is run anew, so that none of its variables outlives another."""
        answer = self.on_load(*self.cell)
        if answer == ["loaded"]:
            self.node = Hosted(self.function, *unpack(tree))
        return answer

    def on_handle(self, tree: Any) -> list[Any]:
        if self.node is None:
            return ["raised", "RuntimeError", "no node has begun", []]
        return ["value", pack(self.node.handle(*unpack(tree))), []]

    def arrived(self, tree: dict[str, Any]) -> Any:
        """Tensors are kept, ports get their shape in here."""
        ((kind, content),) = tree.items()
        if kind == "tensor":
            self.tensors.append(content)
            return content
        if kind == "array":
            return content
        if kind == "link":
            return PortLink(self, *content)
        if kind == "object":
            return Stub(self, *content)
        if kind == "group":
            return self.group
        raise ValueError(f"nothing is called {kind}")

    def state(self) -> list[Any]:
        return [pack(tensor) for tensor in self.tensors]

    def ask(self, port: int, method: str, *arguments: Any) -> Any:
        """The value of a method of an object in the grader. Raises AskedError with its error."""
        self.channel.send("ask", port, method, pack(list(arguments)), self.state())
        answer, *content = self.channel.receive()
        if answer == "raise":
            raise AskedError(content[0])
        return unpack(content[0])

    def on_gloo(self, rank: int, size: int, port: int, seconds: float) -> list[Any]:
        """Rank 0 is asked with port 0, keeps the store, and says at which port it listens."""
        from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

        from labkit.collectives.links.torch_p2p import TorchLink

        patience = timedelta(seconds=seconds)
        if port == 0 or rank != 0:
            self.store = TCPStore("127.0.0.1", port, size, rank == 0, patience, False)
        if rank == 0 and port == 0:
            return ["value", self.store.port, []]
        group = ProcessGroupGloo(PrefixStore("group", self.store), rank, size, patience)
        self.group = TorchLink(group)
        return ["value", None, []]


class Stub:
    """An object of the grader, of which some methods can be called from here, and some plain
    attributes."""

    def __init__(self, inmate: Inmate, port: int, methods: list[str], values: Any) -> None:
        vars(self).update(unpack(values))
        for method in methods:
            setattr(self, method, self._caller(inmate, port, method))

    @staticmethod
    def _caller(inmate: Inmate, port: int, method: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            return inmate.ask(port, method, *arguments)

        call.__name__ = method
        return call


class PortLink(Link):
    """A link through the grader, which passes every message on and keeps a record."""

    def __init__(self, inmate: Inmate, port: int, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self._inmate, self._port = inmate, port

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Arrivals:
        number = self._inmate.ask(
            self._port,
            "start",
            [(tensor, to) for tensor, to in sends],
            [(torch.empty_like(tensor), source) for tensor, source in receives],
        )
        return Arrivals(self, number, [tensor for tensor, _ in receives])


class Arrivals:
    def __init__(self, link: PortLink, number: int, tensors: list[Tensor]) -> None:
        self.link, self.number, self.tensors = link, number, tensors
        self.waited = False

    def wait(self) -> None:
        if self.waited:
            return
        self.waited = True
        came = self.link._inmate.ask(self.link._port, "wait", self.number)
        for tensor, message in zip(self.tensors, came, strict=True):
            tensor.copy_(message)
