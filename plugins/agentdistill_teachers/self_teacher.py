"""The student as its own teacher: as it began, its moving average, or held near where it began.

Alone it teaches nothing new (at equal weights and equal prompts every divergence is zero); inside the teacher
`privileged` it is shown more than the student was, and what it then believes is what the student learns.

    weights = "frozen"        the student as the run began (OPSD, arXiv 2601.18734)
    weights = "ema"           average <- (1 - rate) average + rate student, after each step (SDPO, arXiv 2601.20802)
    weights = "trust-region"  logits (1 - rate) z_began + rate z_now (SDPO's other teacher)
    weights = "live"          the student itself, at every moment

The trust region is a mix in the output, before the softmax, so that log pi_T is (1 - rate) log pi_began + rate log
pi_now up to a constant. It is exact for every kind of score: sampled and top-k log-probabilities, entropy and
confidence are of the mixed distribution over the whole vocabulary, and hidden states are both models' side by side
(or mixed, where adapters leave one output layer), under an output layer to match.

Weights that the student does not train are shared: with adapters, a second teacher costs as much memory as those, and
twice the time with a trust region. The average is kept in float32. It moves once a step of the run and is part of the
checkpoint; frozen weights are not, they are those of `student.model`. Scores of moving weights are not cached.

Defaults: frozen, as OPSD; rate 0.05, SDPO's for average and trust region. Differs from released code: none known in the
average and the mix; SDPO's released trainer skips the average's update after a step that was not taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from agentdistill.hashing import digest
from agentdistill.learner.heads import SplitModel, split_model
from agentdistill.models import LoadedModel
from agentdistill.plugins import PluginConfig
from agentdistill.records import ScoreRequest, TeacherScores, Trajectory
from agentdistill.teachers.base import ScoresOnly
from agentdistill.teachers.following import Average, copy_of, mixed
from agentdistill.teachers.scoring import score_rows


class SelfConfig(PluginConfig):
    """Which of the student's weights teach.

    Attributes:
        weights: "frozen" as the run began, "ema" their moving average, "trust-region" a mix of the logits as they were
            and as they are, "live" as they are.
        rate: share of the student in each move of the average, or of its logits in the mix.
        batch_tokens: most tokens of one forward pass, padding included.
        chunk: tokens whose logits exist at one time.
        positions: "written" scores what somebody in the episode wrote, "all" every token after the first.
    """

    weights: Literal["frozen", "ema", "trust-region", "live"] = "frozen"
    rate: float = Field(default=0.05, gt=0.0, le=1.0)
    batch_tokens: int = Field(default=16384, ge=1)
    chunk: int = Field(default=64, ge=1)
    positions: Literal["written", "all"] = "written"


class SelfTeacher(ScoresOnly):
    """Scores with the student's own weights, without gradient."""

    who = "The student's own teacher"
    needs: frozenset[str] = frozenset()

    def __init__(self, config: SelfConfig, student: LoadedModel) -> None:
        """Takes the student as it is now for the student as the run began."""
        self.config, self._student = config, student
        self._live = split_model(student)
        self._average = Average(student.model, config.rate) if config.weights == "ema" else None
        other = self._average.model if self._average is not None else None
        if config.weights in ("frozen", "trust-region"):
            other = copy_of(student.model)
        self._other = self._live if other is None else split_model(other)
        self._steps, self.label = 0, f"the student itself, {config.weights}"

    @property
    def capabilities(self) -> frozenset[str]:
        """Everything but to play turns; hidden states only where they alone determine the logits."""
        offered = {"sampled", "top_k", "entropy", "confidence"}
        return frozenset(offered | {"hidden"} if self._live.bias is None else offered)

    @property
    def fingerprint(self) -> str:
        """Over the weights the run began with, and how and how often they have moved since."""
        config = self.config
        moved = [] if self.cacheable else [config.rate, self._steps]
        return digest(["self", self._student.fingerprint, config.weights, config.positions, *moved])[:16]

    @property
    def cacheable(self) -> bool:
        """Only as long as the weights stay."""
        return self.config.weights == "frozen"

    @property
    def tokenizer(self) -> Any:
        """The student's."""
        return self._student.tokenizer

    def score(self, trajectories: Sequence[Trajectory], request: ScoreRequest) -> list[list[TeacherScores]]:
        """Scores every row of every trajectory.

        Raises:
            TrainingError: a row does not fit the model.
        """
        config = self.config
        rows = [row for trajectory in trajectories for row in trajectory.rows]
        parts, sizes = self._parts(), {"batch_tokens": config.batch_tokens, "chunk": config.chunk}
        flat = iter(score_rows(parts, rows, request, positions=config.positions, **sizes))
        return [[next(flat) for _ in trajectory.rows] for trajectory in trajectories]

    def output_weight(self) -> Any:
        """The output layer of the weights that teach now, detached: [V, D], or [V, 2 D] in a trust region."""
        return self._parts().weight.detach()

    def after_step(self, step: int) -> None:
        """Moves the average."""
        self._steps = step
        if self._average is not None:
            self._average.update()

    def metrics(self) -> Mapping[str, float]:
        """How often the average moved."""
        return {} if self._average is None else {"updates": float(self._average.updates)}

    def state_dict(self) -> dict[str, Any]:
        """The average, and the step it is of."""
        return {"steps": self._steps, **({} if self._average is None else self._average.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`.

        Raises:
            CheckpointError: the average is another model's.
        """
        self._steps = int(state.get("steps", 0))
        if self._average is not None:
            self._average.load_state_dict(state)

    def _parts(self) -> SplitModel:
        if self.config.weights == "trust-region":
            return mixed(self._live, self._other, self.config.rate)
        return self._other
