"""`/health` and `/progress` of a worker, for those who end what does not work, such as Kubernetes.

A process may live, answer and not train: a probe of its port, or of `/health`, would find nothing
(notebook 04). `/progress?most=60` answers 503 when the last step is older than 60 seconds. It is
served where LABKIT_HTTP says (ADDRESS:PORT), and nowhere unless that is set.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from labkit.flight import Record
from labkit.runtime.line import complain
from labkit.runtime.loop import Loop

LONGEST = 4096
"""Bytes of a request; who sends more, or sends slowly, is not listened to."""
PATIENCE = 5.0
WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
Answer = tuple[int, Mapping[str, object]]


def serve(loop: Loop, record: Callable[[], Record | None]) -> None:
    """Serves what `record()` says of the training (None: there is none here), if it is wanted; says
    why where it cannot, and the rank does without. The loop's thread only."""
    where = os.environ.get("LABKIT_HTTP")
    if where is None:
        return None
    address, _, port = where.rpartition(":")
    try:
        server = socket.create_server((address, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        return complain(
            f"LABKIT_HTTP={where}: this rank serves no /health and /progress ({error}). It is an "
            "ADDRESS:PORT of its own for each rank, such as 0.0.0.0:8080 where each has a host\n"
        )
    server.setblocking(False)
    loop.watch(server, lambda mask: _accept(loop, server, record))


def answer(target: str, record: Record | None) -> Answer:
    """Status and content for the target of a GET request."""
    url = urlsplit(target)
    if url.path == "/health":
        return 200, {"alive": True}
    if url.path != "/progress":
        return 404, {"error": "there are /health and /progress?most=SECONDS"}
    if record is None or record.over:
        return 200, {"training": False}
    try:
        most = float(parse_qs(url.query).get("most", ["inf"])[0])
    except ValueError:
        return 400, {"error": "most=SECONDS is a number"}
    told = {"training": True, "step": record.step, "age": round(record.idle, 3)}
    return (503 if record.idle > most else 200), told


def _accept(loop: Loop, server: socket.socket, record: Callable[[], Record | None]) -> None:
    with contextlib.suppress(OSError):
        sock, _ = server.accept()
        sock.setblocking(False)
        request = bytearray()

        def end() -> None:
            if sock.fileno() >= 0:
                loop.unwatch(sock)
                sock.close()

        def read(mask: int) -> None:
            try:
                data = sock.recv(LONGEST)
            except OSError:
                data = b""
            request.extend(data)
            if b"\r\n\r\n" in request:
                words = request.split(b"\r\n")[0].decode(errors="replace").split()
                with contextlib.suppress(OSError):
                    sock.send(_response(words, record))
            elif data and len(request) < LONGEST:
                return
            end()

        loop.watch(sock, read)
        loop.call_later(PATIENCE, end)


def _response(words: list[str], record: Callable[[], Record | None]) -> bytes:
    get = len(words) == 3 and words[0] == "GET"
    status, content = answer(words[1], record()) if get else (400, {"error": "GET only"})
    body = json.dumps(content).encode() + b"\n"
    head = f"HTTP/1.1 {status} {WORDS[status]}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
