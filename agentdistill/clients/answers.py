"""Answers on disk, filed under the content of their request: asking again costs nothing and changes nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from agentdistill.atomic import write_bytes
from agentdistill.clients.messages import ChatAnswer
from agentdistill.errors import DataError
from agentdistill.hashing import digest

logger = logging.getLogger(__name__)

VERSION = 1


class AnswerCache:
    """One small file per answer. Any number of processes may share a folder: files appear whole, and only once.

    A file holds the request too (never a key: that is not part of it), so that the cache can be read by people.

    Args:
        folder: where; made at the first `put`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._warned = False

    def path(self, identity: str) -> Path:
        """The file of a request (`ChatRequest.identity`)."""
        return self.folder / identity[:2] / f"{identity[2:]}.json"

    def get(self, identity: str) -> ChatAnswer | None:
        """The answer to a request, or None.

        Raises:
            DataError: the file is damaged.
        """
        path = self.path(identity)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value = json.loads(raw)
            if value["v"] != VERSION or value["identity"] != identity or value["sum"] != digest(value["answer"]):
                raise ValueError("it does not match its checksum")
            return ChatAnswer(**value["answer"], cached=True)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"The cached answer {path} is damaged.", f"{error}.", "Remove the file: it will be asked again."
            ) from error

    def put(self, identity: str, payload: dict[str, Any], answer: ChatAnswer) -> None:
        """Keeps an answer. A full disk costs the cache, and not the run that has paid for the answer."""
        kept = {
            "text": answer.text,
            "finish": answer.finish,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "reasoning": answer.reasoning,
            "choice": dict(answer.choice),
        }
        value = {"v": VERSION, "identity": identity, "sum": digest(kept), "request": payload, "answer": kept}
        try:
            write_bytes(self.path(identity), json.dumps(value, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            if not self._warned:
                what = "Answers cannot be kept in %s (%s): a repeated run pays again. Make room, or set cache_folder."
                logger.warning(what, self.folder, error)
            self._warned = True
