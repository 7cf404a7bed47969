"""Shows the teacher steps that lie nearest to the turn as demonstrations, in front of another policy's prompt.

At each turn the goal, the last actions and the observation are looked up among the turns of recorded teacher episodes
(what `agentdistill collect` wrote), and the k nearest, at most `per_episode` of one episode, are put into the prompt,
the nearest last. Nothing is trained: this is in-context distillation, whose other half is the engine `cascade`.

    q_t = [goal ; a_{t-m} .. a_{t-1} ; o_t]        shown_t = argtop-k_{j in store} sim(q_t, q_j)

Nearness is BM25 over words (extra `retrieval`), or the cosine of sentence embeddings of an encoder of your own
(`index = "embedding"`). `form = "text"` tells the steps in one block above the prompt; `form = "turns"` shows each as
the conversation that the wrapped policy would have had, up to the teacher's answer. With `when = "episode"` the steps
are looked up once, at the first turn.

Nothing of a task that is evaluated is ever shown. Before an evaluation plays, and before a run with an `eval.panel`
does anything at all, the policy is told the panel's tasks and holds out every episode of them, and by default every
episode of their splits (`held_out`). Besides, in evaluation and training alike, it never shows an episode of the very
task that is being played, nor of its key and goal under another split, nor with `twins = "drop"` one that began with
the same observation and goal. Each step is checked again when it is shown. The result of an evaluation says how many
episodes were held out.

Source: In-Context Distillation with Self-Consistency Cascades, arXiv 2512.02543. Deviations: the paper also looks up by
a plan that the agent writes first, which costs a call more, and uses embeddings; here the last actions stand in its
place, and words are the default, which need no second model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentdistill.conversation.base import Message, Situation
from agentdistill.errors import ConfigError, DataError
from agentdistill.hashing import digest
from agentdistill.records import Task
from agentdistill_contexts.around import AroundContext
from agentdistill_contexts.library import Library, last_actions
from agentdistill_contexts.nearest import Index, WordIndex
from agentdistill_contexts.retrieval_options import RetrievalConfig, before, require_commands, turns_of
from agentdistill_contexts.teacher_steps import read_episodes

if TYPE_CHECKING:
    from agentdistill.plugins import PluginRegistry

INTRODUCTION = "Here is what an expert did in similar moments of other tasks."
EXAMPLE = (
    "[Example {number}] The task was to: {goal}.{past}\nThe expert saw: {observation}\nThe expert answered: {answer}"
)
PAST = " Before, the expert did: {actions}."
OWN = "Now comes your own task."


class RetrievalContext(AroundContext):
    """Demonstrations in front of another policy's prompt.

    Args:
        config: options.
        registry: where the wrapped policy is looked up.

    Raises:
        ConfigError: the wrapped policy is missing or wrong, or an encoder is not named.
        DataError: the store cannot be used.
    """

    def __init__(self, config: RetrievalConfig, registry: PluginRegistry) -> None:
        super().__init__(config.context, registry)
        self._config = config
        held = read_episodes(config.store, config.failures)
        if config.form == "turns" and "admissible_actions" in self.needs:
            require_commands(held)
        self._library = Library(held, self._index, config.actions, config.twins == "drop")

    def _index(self, texts: Sequence[str]) -> Index:
        config = self._config
        if config.index == "words":
            return WordIndex(texts)
        if config.model is None:
            raise ConfigError(
                "The retrieval index by embeddings has no encoder.",
                "env.context.model is not set.",
                'Name one, or use index = "words".',
            )
        from agentdistill_contexts.nearest_embedding import EmbeddingIndex

        return EmbeddingIndex(texts, config.model, config.pooling, config.query_prefix, config.passage_prefix)

    def hold_out(self, tasks: Sequence[Task]) -> None:
        """Never again shows an episode of tasks that are about to be evaluated.

        Raises:
            DataError: nothing would be left; or the store holds such a task and `held_out` is "refuse".
        """
        named = sorted(self._library.named(tasks))
        if named and self._config.held_out == "refuse":
            key = self._library.held.episodes[named[0]].task.key
            raise DataError(
                f"The store holds {len(named)} episodes of tasks that are evaluated, such as `{key}`.",
                'Their demonstrations would give the answers away, and env.context.held_out is "refuse".',
                'Collect from another split, or set held_out = "split" to leave them out.',
            )
        self._library.hold_out(tasks, self._config.held_out == "split")

    def notes(self) -> list[str]:
        """What was retrieved from, and what was held out."""
        held, config = self._library.held, self._config
        line = (
            f"demonstrations: the {config.k} nearest of {len(held.steps):,} teacher steps in {len(held.episodes):,} "
            f"episodes, by {config.index}, once a {config.when}; {self._library.held_out:,} episodes held out"
        )
        return [line, *self._library.index.notes()]

    def messages(self, situation: Situation) -> list[Message]:
        """The wrapped policy's messages with demonstrations in front."""
        messages = self.inner.messages(situation)
        if self._config.form == "turns":
            return self._with_turns(messages, situation)
        result, first = list(messages), True
        for place, turn in turns_of(messages, len(situation.steps)):
            if first or self._config.when == "turn":
                block = self._told(situation if turn == len(situation.steps) else before(situation, turn))
                result[place] = Message("user", f"{block}{messages[place].content}")
            first = False
        return result

    def _shown(self, situation: Situation) -> list[int]:
        """The steps to show in a turn, the nearest last."""
        asked = before(situation, 0) if self._config.when == "episode" and situation.steps else situation
        found = self._library.nearest(asked, self._config.k, self._config.per_episode)
        self._library.require_clean(found, situation)
        return list(reversed(found))

    def _told(self, situation: Situation) -> str:
        held, told = self._library.held, []
        for number, place in enumerate(self._shown(situation), start=1):
            then = held.situation(place)
            done = last_actions(then, self._config.actions)
            told.append(
                EXAMPLE.format(
                    number=number,
                    goal=then.task.strip().rstrip("."),
                    past=PAST.format(actions="; ".join(done)) if done else "",
                    observation=then.observation.strip(),
                    answer=self._answer(place),
                )
            )
        return "\n\n".join([INTRODUCTION, *told, OWN, ""]) if told else ""

    def _with_turns(self, messages: list[Message], situation: Situation) -> list[Message]:
        opening = [message for message in messages if message.role == "system"]
        shown: list[Message] = []
        for place in self._shown(situation):
            asked = self.inner.messages(self._library.held.situation(place))
            shown += [Message(message.role, message.content) for message in asked if message.role != "system"]
            shown.append(Message("assistant", self._answer(place)))
        return [*opening, *shown, *(message for message in messages if message.role != "system")]

    def _answer(self, place: int) -> str:
        """The teacher's own words where they keep to the format, else its action written in it."""
        step = self._library.held.step(place)
        parsed = self.inner.parse(step.response)
        kept = parsed.well_formed and parsed.action == step.action
        return step.response if kept else self.inner.render_action(step.action)

    @property
    def prompt_hash(self) -> str:
        """Sixteen hex digits over templates, options, the wrapped policy, the store's content and the index."""
        options = self._config.model_dump(exclude={"store", "context", "model"})
        content = [self._library.held.fingerprint, self._library.index.fingerprint, self.inner.prompt_hash]
        return digest(["retrieval", 1, INTRODUCTION, EXAMPLE, PAST, OWN, options, content])[:16]
