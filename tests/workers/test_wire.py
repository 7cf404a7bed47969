"""Messages between processes."""

from __future__ import annotations

import socket
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill.envs.workers import wire
from agentdistill.envs.workers.wire import Channel, packed, receive

TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.recursive(TEXT | st.integers() | st.floats(allow_nan=False) | st.none(), st.lists, max_leaves=5)))
def test_any_text_arrives_as_it_was(messages: list[object]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        for message in messages:
            channel.send(packed(message))
            assert receive(theirs) == message
            theirs.sendall(packed(message))
        assert channel.messages() == messages


def test_messages_in_pieces_and_bigger_than_any_buffer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        data = packed("x" * 3_000_000)
        channel.send(data)
        assert channel.unsent, "it did not wait for a reader"
        got: list[object] = []
        reader = threading.Thread(target=lambda: got.append(receive(theirs)))
        reader.start()
        while channel.unsent:
            channel.flush()
        reader.join()
        assert got == ["x" * 3_000_000]
        data = packed("é")
        for position in range(len(data) - 1):
            theirs.sendall(data[position : position + 1])
            assert channel.messages() == []
        theirs.sendall(data[-1:])
        assert channel.messages() == ["é"]
        theirs.close()
        assert channel.messages() == [] and channel.closed


def test_messages_that_are_too_long_or_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100"):
        packed("x" * 200)
    for garbage in (struct.pack("!Q", 101), struct.pack("!Q", 3) + b"abc"):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            channel = Channel(ours)
            theirs.sendall(garbage)
            with pytest.raises(Exception, match=r"at most 100|unpickling|pickle|opcode|stack"):
                channel.messages()


def test_a_closed_other_side_is_the_end() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(EOFError):
        receive(theirs)
    ours, theirs = socket.socketpair()
    theirs.close()
    channel = Channel(ours)
    channel.send(packed("x"))
    channel.send(packed("x"))
    assert channel.closed and not channel.unsent
    channel.close()
