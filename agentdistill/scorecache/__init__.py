"""Teacher scores that are worth keeping: a content-addressed store, and teachers that answer from it."""

from agentdistill.scorecache.keys import score_key
from agentdistill.scorecache.store import ScoreStore

__all__ = ["ScoreStore", "score_key"]
