"""A TCP line to a port of this machine that can be cut and mended: a partition for whoever uses it."""

from __future__ import annotations

import re
import select
import socket
from contextlib import suppress
from threading import Thread

from border import Node

HOST = "127.0.0.1"


class Line:
    """Listens on a port of its own and carries what comes to target, both ways."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._carrying: list[Thread] = []
        self.mend()

    def mend(self) -> None:
        self._up = True
        self._accepting = Thread(target=self._accept)
        self._accepting.start()

    def cut(self) -> None:
        """No byte passes once this has returned; connections are lost, new ones not taken."""
        self._up = False
        for thread in (self._accepting, *self._carrying):
            thread.join()
        self._carrying.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while self._up:
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection((HOST, self._target))
            except OSError:
                near.close()
                continue
            self._carrying.append(Thread(target=self._carry, args=(near, far)))
            self._carrying[-1].start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, suppress(OSError):
            while self._up:
                for ready in select.select([near, far], [], [], 0.05)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)


def reroute(node: Node, peer: Node) -> Line:
    """Lead a node's way to its peer over a line of ours."""
    (port,) = re.findall(r'^listen = "127\.0\.0\.1:(\d+)"$', peer.config.read_text(), re.MULTILINE)
    line, settings = Line(int(port)), node.config.read_text()
    node.config.write_text(settings.replace(f'endpoint = "127.0.0.1:{port}"',
                                            f'endpoint = "127.0.0.1:{line.port}"'))  # fmt: skip
    return line
