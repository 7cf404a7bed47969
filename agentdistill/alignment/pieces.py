"""What each token writes, in bytes: the only thing that tokens of two tokenizers have in common.

Vocabularies spell one and the same text in different ways: " go" is "Ġgo" in a byte-level vocabulary, "▁go" in a
sentencepiece one, and " go" where tokens are written as they are. The rules are read off the tokenizer's decoder and
checked on every text; what they do not explain is found by decoding one token more at a time.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_VERBATIM = {"ByteFallback", "Fuse", "Replace", "Strip", "Metaspace"}
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_LOST = "\ufffd"

Ids = Sequence[int] | npt.NDArray[np.integer]
Writer = Callable[[str], bytes]
_Text = TypeVar("_Text", str, bytes)


def common_start(a: _Text, b: _Text) -> int:
    """How many characters (or bytes) two texts have in common at their beginning."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((place for place, (x, y) in pairs if x != y), min(len(a), len(b)))


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level vocabularies write for each byte, as character -> byte.

    Printable Latin-1 characters stand for themselves, the others take the code points from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(hidden)}


class TokenPieces:
    """The bytes of a tokenizer's tokens.

    Args:
        tokenizer: a `transformers` tokenizer.

    Attributes:
        special: ids that steer a conversation instead of writing text (terminators, padding, role marks).
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        added = getattr(tokenizer, "added_tokens_decoder", None) or {}
        marks = {int(i) for i in tokenizer.all_special_ids} | {int(i) for i, t in added.items() if t.special}
        self.special: frozenset[int] = frozenset(marks)
        self._verbatim = {int(i): str(token.content).encode() for i, token in added.items()}
        self._table = self._spelled()

    def of(self, ids: Ids) -> list[bytes]:
        """The pieces of a text; one after the other they are the text.

        A token that writes only a part of a character has that part where the vocabulary shows it; otherwise the whole
        character belongs to the token that ends it, and those before it have no bytes.

        Args:
            ids: the tokens of one text.

        Returns:
            One piece for each token.
        """
        if not len(ids):
            return []
        text = self.decode(ids)
        if self._table is not None:
            pieces = [self._table.get(int(i), b"") for i in ids]
            joined = b"".join(pieces).decode("utf-8", errors="replace")
            if _same(joined, text):
                return pieces
            if joined[:1] == " " and _same(joined[1:], text):  # decoders that swallow the space before the first word
                first = next(n for n, piece in enumerate(pieces) if piece)
                pieces[first] = pieces[first][1:]
                return pieces
        return self._decoded(ids, text)

    def vocabulary(self) -> dict[int, bytes]:
        """The bytes of every token that is not special, by id; a token that writes nothing is left out."""
        ids = sorted(int(index) for index in self.tokenizer.get_vocab().values())
        table = self._table
        found = {i: table.get(i, b"") if table is not None else self.decode([i]).encode() for i in ids}
        return {i: piece for i, piece in found.items() if piece and i not in self.special}

    def decode(self, ids: Ids) -> str:
        """The text of tokens, special ones included."""
        whole = [int(i) for i in ids]
        return str(self.tokenizer.decode(whole, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _spelled(self) -> dict[int, bytes] | None:
        """Bytes by id, as the decoder's rules say; None when they say it in a way that depends on the neighbours."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()).get("decoder") if backend is not None else None
        write = _writer(rules)
        if write is None:
            return None
        table = {int(index): write(token) for token, index in self.tokenizer.get_vocab().items()}
        return table | self._verbatim

    def _decoded(self, ids: Ids, text: str) -> list[bytes]:
        """Each token has what the text gains by it. Decodes every prefix."""
        places = [0]
        for count in range(1, len(ids)):
            places.append(max(common_start(self.decode(ids[:count]), text), places[-1]))
        return [text[start:end].encode() for start, end in itertools.pairwise([*places, len(text)])]


def _same(joined: str, text: str) -> bool:
    # Decoders write one or several replacement characters for bytes that are no character.
    return joined == text or (_LOST in text and joined.replace(_LOST, "") == text.replace(_LOST, ""))


def _writer(rules: dict[str, Any] | None) -> Writer | None:
    """What a decoder makes of one token, as far as that does not depend on the others."""
    if rules is None:
        return None
    steps = rules["decoders"] if rules["type"] == "Sequence" else [rules]
    kinds = {str(step["type"]) for step in steps}
    if kinds == {"ByteLevel"}:
        alphabet = byte_alphabet()

        def byte_level(token: str) -> bytes:
            return bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token.encode()

        return byte_level
    if not kinds <= _VERBATIM:
        return None
    swaps = [swap for step in steps if (swap := _swap(step)) is not None]

    def verbatim(token: str) -> bytes:
        if "ByteFallback" in kinds and (match := _BYTE.fullmatch(token)):
            return bytes([int(match[1], 16)])
        for old, new in swaps:
            token = token.replace(old, new)
        return token.encode()

    return verbatim


def _swap(step: dict[str, Any]) -> tuple[str, str] | None:
    if step["type"] == "Metaspace":
        return str(step.get("replacement", "▁")), " "
    pattern = step.get("pattern", {}).get("String") if step["type"] == "Replace" else None
    return None if pattern is None else (str(pattern), str(step["content"]))
