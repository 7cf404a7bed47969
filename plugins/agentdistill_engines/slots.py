"""A KV cache of fixed slots, one conversation each, that survives between turns.

`SlotCache` holds the keys and values, `SlotTable` knows whose they are. Rows have their own lengths and write
positions, so there is no padding inside a conversation; a batch computes on a range of slots without copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers.cache_utils import Cache


class SlotCache(Cache):
    """Keys and values in one tensor [slots, heads, capacity, dim] per layer.

    Before each forward pass `aim` says which slots it computes on and where its tokens belong.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._store: list[tuple[torch.Tensor, torch.Tensor] | None] = []
        self._slots = 0
        self._capacity = 0
        self._rows: slice | torch.Tensor = slice(0, 0)
        self._length = 0
        self._query = 0
        self._slot_index: torch.Tensor | None = None
        self._position: torch.Tensor | None = None
        self._source: tuple[torch.Tensor, torch.Tensor] | None = None
        self._flat = False

    def reserve(self, slots: int, capacity: int) -> None:
        """Makes room for that many slots of that many tokens and keeps what is stored.

        Capacity grows by half at least, so that a conversation's length costs few copies.
        """
        if slots <= self._slots and capacity <= self._capacity:
            return
        self._slots = max(slots, self._slots)
        if capacity > self._capacity:
            self._capacity = max(capacity, self._capacity * 3 // 2)
        self._store = [None if pair is None else (self._grown(pair[0]), self._grown(pair[1])) for pair in self._store]

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros(self._slots, old.shape[1], self._capacity, old.shape[3])
        new[: old.shape[0], :, : old.shape[2]] = old
        return new

    def aim(
        self,
        rows: slice | torch.Tensor,
        length: int,
        query: int,
        slot_index: torch.Tensor,
        position: torch.Tensor,
        source: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> None:
        """Sets up the next forward pass.

        Args:
            rows: slots of the batch, a range (no copy) or an index tensor (gathered).
            length: keys and values every row sees, the new ones included; masked where a row is shorter.
            query: tokens per row in this pass, padding included.
            slot_index: int64 [N], slot of each token to store.
            position: int64 [N], its position in that slot.
            source: (row, column) int64 [N] each, where those tokens are in the batch; None when the batch is one
                column and every row is stored.
        """
        self._rows, self._length, self._query = rows, length, query
        self._slot_index, self._position, self._source, self._flat = slot_index, position, source, False

    def aim_rows(self, slot_index: torch.Tensor, position: torch.Tensor) -> None:
        """Sets up a forward pass over one sequence in which the new tokens of several slots lie one behind the other.

        `update` then returns all slots whole; whoever attends takes what belongs to each row.

        Args:
            slot_index: int64 [T], slot of each token.
            position: int64 [T], its position in that slot.
        """
        self._rows, self._length, self._query = slice(None), self._capacity, len(position)
        self._slot_index, self._position, self._source, self._flat = slot_index, position, None, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores the pass's tokens and returns the [rows, heads, length, dim] keys and values to attend to."""
        while len(self._store) <= layer_idx:
            self._store.append(None)
        pair = self._store[layer_idx]
        if pair is None:
            pair = (self._empty(key_states), self._empty(value_states))
            self._store[layer_idx] = pair
        return self._write(pair[0], key_states), self._write(pair[1], value_states)

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros, not uninitialised memory: masked positions get weight 0, and 0 * NaN is NaN.
        return like.new_zeros(self._slots, like.shape[1], self._capacity, like.shape[3])

    def _write(self, store: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        if self._flat:
            new = new[0].transpose(0, 1)
        else:
            new = new[:, :, 0] if self._source is None else new.transpose(1, 2)[self._source]
        store[self._slot_index, :, self._position] = new
        return store[self._rows, :, : self._length]

    def swap(self, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], length: int) -> None:
        """Exchanges the first `length` positions of pairs of slots."""
        here, there = (torch.from_numpy(np.concatenate(pair)) for pair in ((left, right), (right, left)))
        for pair in self._store:
            for store in pair or ():
                part = store[:, :, :length]
                part.index_copy_(0, here.to(store.device), part.index_select(0, there.to(store.device)))

    def clear(self) -> None:
        """Zeroes everything, so that values of broken weights cannot live on."""
        for pair in self._store:
            for store in pair or ():
                store.zero_()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before this pass (rows differ; models are always given their position ids)."""
        return self._length - self._query

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """(keys and values of the pass, offset of the first)."""
        return self._length, 0


class SlotTable:
    """Which conversation lives in which slot, and the token ids whose keys and values are stored there.

    Args:
        cache: the cache whose rows this table names; slots are moved in both together.
        most: most conversations kept.
    """

    def __init__(self, cache: SlotCache, most: int) -> None:
        self._cache = cache
        self._most = most
        self._session: list[str | None] = []
        self._tokens: list[npt.NDArray[np.int64]] = []
        self._used: list[int] = []
        self._slot: dict[str, int] = {}
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slot)

    def __contains__(self, session: str) -> bool:
        return session in self._slot

    def place(self, sessions: Sequence[str], capacity: int) -> npt.NDArray[np.int64]:
        """Gives each conversation a slot, so that together they fill the slots 0 to n-1.

        A conversation that is new takes a free slot or that of the one unused for longest; those of the batch
        that lie outside the range change places with others that lie inside it.

        Args:
            sessions: different conversations, at most `most`.
            capacity: tokens each slot must hold.

        Returns:
            int64 [n], the slot of each conversation.
        """
        count, wanted = len(sessions), set(sessions)
        self._clock += 1
        new = [session for session in sessions if session not in self._slot]
        spare = [slot for slot, session in enumerate(self._session) if session is None]
        while len(spare) < len(new) and len(self._session) < self._most:
            spare.append(len(self._session))
            self._session.append(None)
            self._tokens.append(np.zeros(0, dtype=np.int64))
            self._used.append(0)
        if len(spare) < len(new):
            idle = [slot for slot, session in enumerate(self._session) if session is not None and session not in wanted]
            idle.sort(key=lambda slot: self._used[slot])
            for slot in idle[: len(new) - len(spare)]:
                self._forget(slot)
                spare.append(slot)
        for session, slot in zip(new, sorted(spare), strict=False):
            self._session[slot], self._slot[session] = session, slot
            self._tokens[slot] = np.zeros(0, dtype=np.int64)
        self._cache.reserve(min(self._most, 1 << (len(self._session) - 1).bit_length()), capacity)

        outside = [self._slot[s] for s in sessions if self._slot[s] >= count]
        holes = [slot for slot in range(count) if self._session[slot] not in wanted]
        self.swap(np.asarray(holes, dtype=np.int64), np.asarray(outside, dtype=np.int64))
        slots = np.asarray([self._slot[s] for s in sessions], dtype=np.int64)
        for slot in slots.tolist():
            self._used[slot] = self._clock
        return slots

    def swap(self, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], length: int | None = None) -> None:
        """Exchanges pairs of slots, in the table and in the cache.

        Args:
            left: slots.
            right: as many others.
            length: tokens to move; by default as many as the table knows of.
        """
        if not len(left):
            return
        if length is None:
            length = max(len(self._tokens[slot]) for slot in [*left.tolist(), *right.tolist()])
        if length:
            self._cache.swap(left, right, length)
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            for column in (self._session, self._tokens, self._used):
                column[a], column[b] = column[b], column[a]
            for slot in (a, b):
                session = self._session[slot]
                if session is not None:
                    self._slot[session] = slot

    def shared(self, slot: int, prompt: npt.NDArray[np.int64]) -> int:
        """How many leading tokens of the prompt are stored; at most all but one, since one must be fed."""
        stored = self._tokens[slot]
        length = min(len(stored), len(prompt) - 1)
        different = np.flatnonzero(stored[:length] != prompt[:length])
        return int(different[0]) if len(different) else length

    def store(self, session: str, tokens: npt.NDArray[np.int64]) -> None:
        """Records what is stored in a conversation's slot."""
        self._tokens[self._slot[session]] = tokens

    def release(self, sessions: Iterable[str]) -> None:
        """Frees slots; unknown conversations are ignored."""
        for session in sessions:
            if session in self._slot:
                self._forget(self._slot[session])

    def _forget(self, slot: int) -> None:
        session = self._session[slot]
        if session is not None:
            del self._slot[session]
        self._session[slot], self._tokens[slot] = None, np.zeros(0, dtype=np.int64)

    def clear(self) -> None:
        """Forgets every conversation."""
        for slot in range(len(self._session)):
            self._forget(slot)
