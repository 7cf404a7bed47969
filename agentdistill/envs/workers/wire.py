"""Messages over a socket between two processes that trust each other: a length, then a pickle."""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

_HEADER = struct.Struct("!Q")
_CHUNK = 1 << 20

MOST_BYTES = 1 << 28
"""Longest message. A reply beyond it is an error of the environment, not of the machine's memory."""


def packed(message: Any) -> bytes:
    """A message as bytes. Text may hold anything a `str` can, lone surrogates included."""
    body = pickle.dumps(message, protocol=5)
    if len(body) > MOST_BYTES:
        raise ValueError(f"the message has {len(body):,} bytes; at most {MOST_BYTES:,} can be sent")
    return _HEADER.pack(len(body)) + body


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that crossed the line.

    Attributes:
        kind: name of its class.
        what: first part of the message: the whole of it, unless it was one of our own errors.
        why: second part.
        do: third part.
        ours: it was an `AgentDistillError` of that class.
        trace: the end of its traceback.
    """

    kind: str
    what: str
    why: str = ""
    do: str = ""
    ours: bool = False
    trace: str = ""


def receive(sock: socket.socket) -> Any:
    """Waits for one message (the worker's side).

    Raises:
        EOFError: the other side is gone.
    """
    (length,) = _HEADER.unpack(_exactly(sock, _HEADER.size))
    return pickle.loads(_exactly(sock, length))


def _exactly(sock: socket.socket, count: int) -> bytearray:
    data = bytearray()
    while len(data) < count:
        chunk = sock.recv(min(count - len(data), _CHUNK))
        if not chunk:
            raise EOFError
        data += chunk
    return data


class Channel:
    """The supervisor's side: never blocks, whatever state the worker is in.

    Args:
        sock: a stream socket; the channel owns it.

    Attributes:
        closed: the worker's end is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._out = bytearray()
        self._in = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """For selectors."""
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for the worker to read."""
        return bool(self._out)

    def send(self, data: bytes) -> None:
        """Sends what fits now and keeps the rest for `flush`."""
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Sends on as far as it goes."""
        try:
            while self._out:
                sent = self._sock.send(memoryview(self._out)[:_CHUNK])
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()
            self.closed = True

    def messages(self) -> list[Any]:
        """Every message that has arrived whole. Unpickling errors are raised as they are."""
        try:
            while True:
                chunk = self._sock.recv(_CHUNK)
                if not chunk:
                    self.closed = True
                    break
                self._in += chunk
                if len(chunk) < _CHUNK:
                    break
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        found = []
        while len(self._in) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._in)
            if length > MOST_BYTES:
                raise ValueError(f"a message of {length:,} bytes is announced; at most {MOST_BYTES:,} can be sent")
            end = _HEADER.size + length
            if len(self._in) < end:
                break
            found.append(pickle.loads(bytes(self._in[_HEADER.size : end])))
            del self._in[:end]
        return found

    def close(self) -> None:
        """Closes the socket."""
        with contextlib.suppress(OSError):
            self._sock.close()
