"""Which texts of a collection are nearest to a query by their sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from agentdistill.errors import ConfigError
from agentdistill.hashing import digest
from agentdistill.models import tokenizer_fingerprint, weights_fingerprint
from agentdistill_contexts.nearest import Scores

_BATCH = 64


class EmbeddingIndex:
    """Cosine similarity of sentence embeddings of a `transformers` encoder.

    Args:
        texts: the collection.
        model: directory or hub id of the encoder.
        pooling: "mean" of the last hidden states, or the first token's ("cls"), as the encoder was trained.
        query: text in front of queries, for encoders that want one ("query: ").
        passage: text in front of the collection's texts ("passage: ").

    Raises:
        ConfigError: the encoder cannot be loaded.
    """

    def __init__(
        self, texts: Sequence[str], model: str, pooling: Literal["mean", "cls"], query: str, passage: str
    ) -> None:
        import torch
        import transformers

        self._torch, self._pooling, self._query = torch, pooling, query
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(model)
            self._model: Any = transformers.AutoModel.from_pretrained(model, dtype=torch.float32).eval()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"Cannot load the sentence encoder {model!r}.",
                f"transformers says: {(str(error).strip().splitlines() or [type(error).__name__])[0]}",
                'Give a directory or hub id, or use env.context.index = "words".',
            ) from error
        self._longest = min(
            int(self._tokenizer.model_max_length), getattr(self._model.config, "max_position_embeddings", 1 << 30)
        )
        self._cut = 0
        parts = [self._embed([passage + text for text in texts[i : i + _BATCH]]) for i in range(0, len(texts), _BATCH)]
        self._texts = np.concatenate(parts)
        self._cut_texts = self._cut

    def _embed(self, texts: Sequence[str]) -> Scores:
        lengths = [len(ids) for ids in self._tokenizer(list(texts))["input_ids"]]
        self._cut += sum(length > self._longest for length in lengths)
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        with self._torch.no_grad():
            states = self._model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        if self._pooling == "cls":
            pooled = states[:, 0]
        else:
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1)
        found: Scores = self._torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return found

    def scores(self, query: str) -> Scores:
        """The cosine to every text, float32 [texts]."""
        found: Scores = self._texts @ self._embed([self._query + query])[0]
        return found

    @property
    def fingerprint(self) -> str:
        """Over weights, tokenizer and pooling."""
        model, tokenizer = weights_fingerprint(self._model), tokenizer_fingerprint(self._tokenizer)
        return digest([model, tokenizer, self._pooling, self._query])[:16]

    def notes(self) -> Sequence[str]:
        """How many texts were too long for the encoder."""
        if not self._cut:
            return ()
        queries = self._cut - self._cut_texts
        return (
            f"the sentence encoder reads {self._longest} tokens: {self._cut_texts} of {len(self._texts)} texts "
            f"and {queries} queries were longer, their ends did not count",
        )
