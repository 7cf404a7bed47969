"""Greedy play of many text games at once, for measuring starter models while they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase, Qwen3ForCausalLM

from agentdistill_alfworld.engine import TextGame
from agentdistill_alfworld.starter_training.tokenizer import ACT, CONTEXT_LENGTH, END


@dataclass(slots=True)
class Outcome:
    """How a model fared in one game.

    Attributes:
        won: it reached the goal.
        actions: what it did.
        refused: how many of its actions the game did not accept.
    """

    won: bool = False
    actions: list[str] = field(default_factory=list)
    refused: int = 0


class _Cache:
    """Keys and values of several conversations of different lengths.

    Chunks are padded on the left; a mask hides the padding and positions count real tokens only, so that every
    row computes what it would compute alone.
    """

    def __init__(self, model: Qwen3ForCausalLM, rows: int) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._mask = torch.zeros(rows, 0, dtype=torch.bool)
        self.lengths = torch.zeros(rows, dtype=torch.long)

    def keep(self, rows: list[int]) -> None:
        """Drops all other rows."""
        index = torch.tensor(rows)
        self._cache.batch_select_indices(index)
        self._mask, self.lengths = self._mask[index], self.lengths[index]

    def feed(self, chunks: Sequence[Sequence[int]]) -> list[int]:
        """Appends a chunk (maybe empty) to every row; returns the likeliest next token of each row."""
        rows, width = len(chunks), max(1, max(map(len, chunks)))
        ids = torch.zeros(rows, width, dtype=torch.long)
        real = torch.zeros(rows, width, dtype=torch.bool)
        positions = torch.zeros(rows, width, dtype=torch.long)
        for row, chunk in enumerate(chunks):
            if chunk:
                ids[row, -len(chunk) :] = torch.tensor(list(chunk))
                real[row, -len(chunk) :] = True
                positions[row, -len(chunk) :] = torch.arange(len(chunk)) + self.lengths[row]
                self.lengths[row] += len(chunk)
        self._mask = torch.cat([self._mask, real], dim=1)
        total = self._mask.shape[1]
        query, key = torch.arange(total - width, total), torch.arange(total)
        # Padding attends to itself only, which keeps its softmax finite.
        seen = (key[None] <= query[:, None])[None] & self._mask[:, None] | (key[None] == query[:, None])[None]
        bias = torch.zeros(rows, 1, width, total).masked_fill(~seen[:, None], float("-inf"))
        states = self._model.model(
            input_ids=ids, attention_mask=bias, position_ids=positions, past_key_values=self._cache, use_cache=True
        ).last_hidden_state[:, -1]
        likeliest: list[int] = self._model.lm_head(states).argmax(-1).tolist()
        return likeliest


@torch.no_grad()
def play_greedy(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    worlds: Sequence[TextGame],
    *,
    limit: int = 50,
    max_new_tokens: int = 16,
) -> list[Outcome]:
    """Plays every game greedily, side by side.

    Args:
        model: a starter model in eval mode.
        tokenizer: its tokenizer.
        worlds: the games; they are reset.
        limit: most actions in a game. A game also ends, lost, when its text no longer fits the context.
        max_new_tokens: most tokens of an action; a longer one is cut there and sent as it is.

    Returns:
        One outcome for each game, in their order.
    """
    act, end = (tokenizer.convert_tokens_to_ids(token) for token in (ACT, END))
    outcomes = [Outcome() for _ in worlds]
    cache = _Cache(model, len(worlds))
    live = list(range(len(worlds)))
    feeds = [[*tokenizer.encode(world.reset(), add_special_tokens=False), act] for world in worlds]
    while live:
        written: list[list[int]] = [[] for _ in live]
        following = cache.feed(feeds)
        writing = [True] * len(live)
        while True:
            for row in range(len(live)):
                if writing[row]:
                    written[row].append(following[row])
                    writing[row] = following[row] != end and len(written[row]) < max_new_tokens
            if not any(writing):
                break
            following = cache.feed([[w[-1]] if more else [] for w, more in zip(written, writing, strict=True)])
        feeds, going = [], []
        for row, game in enumerate(live):
            action = _text(tokenizer, written[row])
            observation = worlds[game].step(action)
            outcome = outcomes[game]
            outcome.actions.append(action)
            outcome.refused += not worlds[game].valid
            outcome.won = worlds[game].won
            # What the model wrote last was never fed. An action that was cut still has to be closed.
            tail = written[row][-1:] if written[row][-1] == end else [written[row][-1], end]
            feed = [*tail, *tokenizer.encode(observation, add_special_tokens=False), act]
            fits = int(cache.lengths[row]) + len(feed) + max_new_tokens <= CONTEXT_LENGTH
            if not outcome.won and len(outcome.actions) < limit and fits:
                feeds.append(feed)
                going.append(row)
        if 0 < len(going) < len(live):
            cache.keep(going)
        live = [live[row] for row in going]
    return outcomes


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))
