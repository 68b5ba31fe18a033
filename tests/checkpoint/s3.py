"""A real S3 server on loopback (`rclone serve s3`), and a wire to it that can be cut."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

KEY, SECRET = "labkit", "labkitsecret"


def rclone() -> str | None:
    program = Path(sys.executable).with_name("rclone")
    return str(program) if program.exists() else None


class Server:
    """Serves the folders below `root` as buckets. `port` stays the same over `stop` and `start`."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, 0
        self.start()

    def start(self) -> None:
        program = rclone()
        assert program is not None
        address = f"127.0.0.1:{self.port}"
        options = ["--auth-key", f"{KEY},{SECRET}", "--config", "/dev/null", "--addr", address]
        self.process = subprocess.Popen(
            [program, "serve", "s3", *options, str(self.root)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                break
        else:
            raise RuntimeError("rclone did not start")
        drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        drain.start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Wire:
    """Forwards to a port; `cut_after` bytes towards the server it closes every connection."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.cut_after: int | None = None
        self.carried = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except ConnectionRefusedError:
                    near.close()
                    continue
                threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                if counted:
                    self.carried += len(data)
                    if self.cut_after is not None and self.carried > self.cut_after:
                        break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listening.close()


def options(port: int) -> dict[str, Any]:
    """For a `Bucket` over obstore: gives up soon, since a test has no time."""
    config = {
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
        "region": "us-east-1",
        "virtual_hosted_style_request": False,
    }
    client = {"allow_http": True, "timeout": "10s"}
    return {"config": config, "client_options": client, "retry_config": {"max_retries": 0}}
