"""A teacher of which nothing is known but what it says: a model behind an OpenAI-compatible chat endpoint.

It scores nothing, so no divergence and no log-ratio can be had from it. What it can do is write turns:

* at every state the student visits (`curriculum = "sopd"`, arXiv 2608.16333): the student plays, the teacher writes its
  own turn at each of the student's states, and those are imitated, L = mean_k mean_j -log pi_S(s_kj | h_k, s_k<j). This
  needs no [loss] at all;
* in the student's place (`curriculum = "guided"`, "rescue", "uopd", ...), where its turns are imitated or context.

The endpoint reads the messages of the run's context policy, word for word what the student was shown, and answers in
the format they ask for. The answer is put into the student's tokens; one that was cut off, in which no action can be
read, or that the student could not write within `rollout.max_new_tokens`, is asked for again, then left out, and
counted.

To score the student's own turns with another teacher besides, put both into the teacher `route` and name this one in
its `act`. As a judge of episodes and turns such a model is a reward ("llm-judge", "process-judge", "gate-judge").

Answers are kept on disk under the whole question, so that a run that is resumed or repeated asks nothing twice. With
`price_in`, `price_out` and `budget` the run stops when the money is spent: it leaves a checkpoint of its last finished
step, and goes on from there with `--resume` and a larger `--teacher.budget`. Every step logs `teacher/cost_usd`,
`teacher/tokens_in`, `teacher/tokens_out`, `teacher/requests` and what was not used.

Defaults: greedy or sampled as the curriculum asks, two attempts. Differences from GAD and OVD, other ways to learn from
such teachers: no discriminator and no verbal score is learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from agentdistill.clients import Account, ChatClient, EndpointConfig
from agentdistill.conversation.base import ContextPolicy, Situation
from agentdistill.conversation.template import ChatRenderer
from agentdistill.engines.base import GenerationRequest, Sampling
from agentdistill.errors import TrainingError
from agentdistill.hashing import digest
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.rollout.chat_guide import ChatGuide, ChatGuideSettings
from agentdistill.rollout.guide import GuideTurn


class ChatTeacherConfig(EndpointConfig):
    """A teacher behind a chat endpoint.

    Attributes:
        sampling: "asked" sends the temperature that curriculum and rollout ask for; "own" what `temperature` says.
        send_seed: send a seed with what is sampled; some endpoints refuse it.
        attempts: how often a turn is asked for whose answers cannot be used.
        thoughts: put reasoning that the endpoint keeps apart in front of its answer, between <think> tags.
    """

    sampling: Literal["asked", "own"] = "asked"
    send_seed: bool = True
    attempts: int = Field(default=2, ge=1)
    thoughts: bool = False


class ChatTeacher:
    """Writes turns, and keeps the account.

    Attributes:
        client: of the endpoint.
    """

    capabilities: frozenset[str] = frozenset({"act"})
    needs: frozenset[str] = frozenset()
    tokenizer: Any = None
    cacheable = False

    def __init__(self, config: ChatTeacherConfig) -> None:
        """Makes the client; nothing is sent yet.

        Raises:
            ConfigError: the variable that should hold the key is not set.
            MissingExtraError: the extra `api` is not installed.
        """
        self.config = config
        self.client = ChatClient(config)
        self._guides: list[ChatGuide] = []
        self._account = Account(self.client.usage)

    @property
    def fingerprint(self) -> str:
        """Over who is asked and how; nobody outside knows whether the model behind it stays the same."""
        config = self.config
        asked = [config.served_as or config.url, config.model, config.sampling, config.temperature, config.top_p]
        return digest(["chat", *asked, config.max_tokens, config.thoughts, config.body])[:16]

    def guide(self, context: ContextPolicy, renderer: ChatRenderer) -> ChatGuide:
        """Plays turns of the run's context policy in the student's tokens."""
        config = self.config
        settings = ChatGuideSettings(config.attempts, config.sampling == "own", config.send_seed, config.thoughts)
        self._guides.append(ChatGuide(self.client, context, renderer, settings))
        return self._guides[-1]

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Not available.

        Raises:
            TrainingError: always; check `capabilities` first.
        """
        raise self._silent("scores no tokens")

    def policy(self) -> Any:
        """Not available: `guide` plays.

        Raises:
            TrainingError: always.
        """
        raise self._silent("is no model of this process")

    def output_weight(self) -> Any:
        """Not available.

        Raises:
            TrainingError: always.
        """
        raise self._silent("has no output layer")

    def _silent(self, what: str) -> TrainingError:
        return TrainingError(
            f"The teacher {self.config.model} behind a chat endpoint {what}.",
            "Only its words are known.",
            'Let it write turns (curriculum.type = "sopd" needs no [loss]), or score with another teacher.',
        )

    def check(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """Asks for the turn of one state of the student, if anybody plays for this teacher.

        Raises:
            AgentDistillError: the endpoint cannot be reached or refuses the question.
        """
        played = next((t for t in trajectories if t.steps), None)
        if not self._guides or played is None:
            return []
        first, before = played.steps[0], self.client.usage.sent
        known, goal = first.info.get("admissible_actions") or (), str(played.meta.get("goal", ""))
        situation = Situation(goal, first.observation, known, (), played.task)
        turn = GuideTurn(GenerationRequest("check", (), situation=situation), first.info)
        (answer,) = self._guides[0].respond([turn], Sampling(1 << 30, (), 0.0))
        read = "an action can be read in it" if answer is not None else "NO ACTION can be read in it"
        asked = "from the cache" if self.client.usage.sent == before else "asked now"
        return [f"{self.config.model} at {self.config.url} answers ({asked}); {read}"]

    def metrics(self) -> dict[str, float]:
        """What was asked, spent and not used since the last call."""
        return self._account.news([guide.counts for guide in self._guides])

    def state_dict(self) -> dict[str, Any]:
        """What has been spent, so that a resumed run keeps to the same budget."""
        return self._account.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        self._account.load_state_dict(state)
