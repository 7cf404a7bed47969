"""Every warning a run can raise: the number it looks at, when, and what to do about it.

All of them judge the late window, and most its trend beyond noise: audits of many runs found that a single threshold on
entropy, the probability of ending, or length trips in healthy runs too. None of them stops a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agentdistill.diagnostics.trend import Trend

Signal = Callable[[Mapping[str, float]], float | None]
"""Metrics of a step -> the number a rule looks at; None where it is not known."""

SIGNIFICANT = 4.0
"""Standard errors by which a number must have moved to count as moving."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of a window; parts that are None are not asked for.

    Attributes:
        above: the mean is larger.
        below: the mean is smaller.
        rise: it rose by at least this over the window, significantly.
        fall: it fell by at least this, significantly.
        share: it rose by at least this share of where it began, significantly.
        stuck: it did not rise significantly.
    """

    above: float | None = None
    below: float | None = None
    rise: float | None = None
    fall: float | None = None
    share: float | None = None
    stuck: bool = False

    def __str__(self) -> str:
        parts = [
            None if self.above is None else f"mean above {self.above:g}",
            None if self.below is None else f"mean below {self.below:g}",
            None if self.rise is None else f"rose by {self.rise:g}",
            None if self.fall is None else f"fell by {self.fall:g}",
            None if self.share is None else f"rose by {self.share:.0%}",
            "did not rise" if self.stuck else None,
        ]
        return " and ".join(part for part in parts if part)

    def holds(self, window: Trend) -> bool:
        """Whether it holds."""
        up, down = window.significance >= SIGNIFICANT, window.significance <= -SIGNIFICANT
        return (
            (self.above is None or window.mean > self.above)
            and (self.below is None or window.mean < self.below)
            and (self.rise is None or (up and window.change >= self.rise))
            and (self.fall is None or (down and -window.change >= self.fall))
            and (self.share is None or (up and window.change >= self.share * abs(window.start)))
            and not (self.stuck and up)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A warning.

    Attributes:
        name: how it is called everywhere.
        number: what it looks at, for people.
        signal: the same, from metrics.
        when: it is raised when one of these conditions holds.
        means: what it means, a sentence.
        advice: what to do, a sentence.
        steady: it is judged only while the curriculum's depth does not change.
        least: fewest steps in a window.
    """

    name: str
    number: str
    signal: Signal
    when: Sequence[Condition]
    means: str
    advice: str
    steady: bool = False
    least: int = 20


def metric(name: str) -> Signal:
    """The signal that is a metric itself."""
    return lambda metrics: metrics.get(name)


def ratio(part: str, whole: str) -> Signal:
    """One metric as a share of another; None where the whole is 0."""

    def signal(metrics: Mapping[str, float]) -> float | None:
        total = metrics.get(whole)
        return metrics[part] / total if total and part in metrics else None

    return signal


def deep_gap(metrics: Mapping[str, float]) -> float | None:
    """Mean teacher log-probability of the fifth to eighth turn, less that of the first."""

    def mean(turns: Sequence[int]) -> float | None:
        tokens = sum(metrics.get(f"turn/{turn}/tokens", 0.0) for turn in turns)
        return sum(metrics.get(f"turn/{turn}/teacher_logprob_sum", 0.0) for turn in turns) / tokens if tokens else None

    first, deep = mean([0]), mean([4, 5, 6, 7])
    return None if first is None or deep is None else deep - first


def largest_teacher(metrics: Mapping[str, float]) -> float | None:
    """The share of the gradient of the one of several teachers that has most of it."""
    shares = [value for name, value in metrics.items() if name.startswith("teacher/gradient/")]
    return max(shares) if len(shares) > 1 else None


def no_loss(metrics: Mapping[str, float]) -> float | None:
    """1 for a step whose distillation loss, as weighted, is exactly 0 although there are tokens, else 0."""
    if not metrics.get("tokens/distill") or "loss/distill" not in metrics:
        return None
    still = metrics.get("optim/grad_norm", 1.0) == 0.0
    return float(metrics["loss/distill"] == 0.0 and still)


RULES: tuple[Rule, ...] = (
    Rule(
        "kl-rising",
        "`kl/token`",
        metric("kl/token"),
        [Condition(share=0.5)],
        "The student moves away from its teacher at the same depth of episodes.",
        "Lower optim.lr, or add a reference KL; look at the curve over turns (`turn/*/kl_sum`) for where it begins.",
        steady=True,
    ),
    Rule(
        "teacher-lost-at-depth",
        "mean teacher log-probability of the fifth to eighth turn, less that of the first",
        deep_gap,
        [Condition(below=-1.0, fall=0.5)],
        "The teacher finds late turns ever less likely than first ones: it is judging prefixes it cannot judge.",
        "Limit the depth or let somebody lead (curriculum full -> a growing, guided or adaptive one), or weigh late "
        "turns less with a step weight.",
        steady=True,
    ),
    Rule(
        "success-falling",
        "`rollout/success`",
        metric("rollout/success"),
        [Condition(fall=0.15)],
        "Training episodes of the same depth are won less and less often.",
        "Evaluate now; lower optim.lr or go back to a checkpoint, and see which other warning came first.",
        steady=True,
    ),
    Rule(
        "repetition",
        "`rollout/repetition_rate`",
        metric("rollout/repetition_rate"),
        [Condition(above=0.05, rise=0.05), Condition(above=0.3)],
        "Responses begin to repeat themselves.",
        "Check the stop tokens first; then a reference KL with a little gold data, a lower rollout.max_new_tokens, or "
        "a filter of truncated responses.",
    ),
    Rule(
        "length-inflation",
        "`rollout/turn_tokens`",
        metric("rollout/turn_tokens"),
        [Condition(share=0.5)],
        "Turns grow longer without need.",
        "Check the stop tokens first; then cap rollout.max_new_tokens, and compare with a reference KL in the loss.",
    ),
    Rule(
        "truncation",
        "`rollout/truncated_rate`",
        metric("rollout/truncated_rate"),
        [Condition(above=0.1, rise=0.1), Condition(above=0.5)],
        "Responses run into the token limit.",
        "Raise rollout.max_new_tokens if they are meant to be so long; otherwise see `repetition`, and filter "
        "truncated responses.",
    ),
    Rule(
        "dead-rows",
        "`tokens/dead_rate`",
        metric("tokens/dead_rate"),
        [Condition(above=0.05)],
        "The teacher has no usable score for many of the student's tokens.",
        "Look for timeouts or context limits of the teacher; tokens without a score are left out and teach nothing.",
    ),
    Rule(
        "no-loss",
        "share of steps with a loss and a gradient of exactly 0",
        no_loss,
        [Condition(above=0.999)],
        "The loss and its gradient are exactly 0: nothing is learned.",
        "Look for k = 1 with both sides renormalised, weights that are all 0, or a teacher that is the student itself.",
        least=3,
    ),
    Rule(
        "empty-batches",
        "`batch/empty`",
        metric("batch/empty"),
        [Condition(above=0.5)],
        "The filters leave nothing to train on in most batches.",
        "Loosen them, or play more episodes a step (rollout.tasks_per_step, rollout.samples_per_task).",
        least=3,
    ),
    Rule(
        "engine-gap",
        "`gap/logprob_mean`",
        metric("gap/logprob_mean"),
        [Condition(above=0.05)],
        "The engine's log-probabilities differ from the learner's: every batch looks off-policy.",
        "Compare temperature, dtype and template of the two; a truncated importance weight mends what is left.",
    ),
    Rule(
        "few-weights",
        "`weight/token_ess`",
        metric("weight/token_ess"),
        [Condition(below=0.05)],
        "A twentieth of the tokens carries all of the weight.",
        "Soften the weights (a floor, a larger temperature or share), or choose uniform ones.",
    ),
    Rule(
        "few-tokens",
        "`advantage/top1_share`",
        metric("advantage/top1_share"),
        [Condition(above=0.5)],
        "One token in a hundred carries half of the advantage.",
        "Clip the log-ratio lower, or squash it (a soft logarithm).",
    ),
    Rule(
        "few-episodes",
        "`episodes/max_share`",
        metric("episodes/max_share"),
        [Condition(above=0.4)],
        "One episode owns most of a batch's tokens.",
        'Use optim.reduction = "turn-mean" or a blend, a cap of turns per episode, or more episodes a step.',
    ),
    Rule(
        "one-teacher",
        "the largest of `teacher/gradient/NAME`",
        largest_teacher,
        [Condition(above=0.9)],
        "One of several teachers gives nearly all of the gradient: the budget of tokens decides what is learned.",
        "Bound the shares with the filter `quota`, weigh the teachers, or route fewer turns to that one.",
    ),
    Rule(
        "flat-groups",
        "`advantage/flat_groups`",
        metric("advantage/flat_groups"),
        [Condition(above=0.9)],
        "In nearly all groups no episode is better than another: the rewards teach nothing.",
        "Take tasks of other difficulty, more rollout.samples_per_task, or lean on the teacher until some are won. "
        "Episodes that the curriculum cuts (`advantage/cut`) are not known to be lost and not compared: let them end, "
        "or count them with advantage.count_cut.",
    ),
    Rule(
        "low-overlap",
        "`overlap/mean`",
        metric("overlap/mean"),
        [Condition(below=0.3, stuck=True)],
        "Student and teacher hardly agree on the likely tokens, and it does not get better.",
        "Begin with imitation of the teacher (`agentdistill sft`), or choose a teacher closer to the student; healthy "
        "pairs share 70% to 90%.",
    ),
    Rule(
        "no-progress",
        "`rollout/no_progress_rate`",
        metric("rollout/no_progress_rate"),
        [Condition(above=0.1, rise=0.1), Condition(above=0.5)],
        "The student does the same in the same place again and again.",
        "Drop or weigh down such turns (a step weight or filter), or let a guide take them.",
    ),
    Rule(
        "invalid-actions",
        "`rollout/invalid_rate`",
        metric("rollout/invalid_rate"),
        [Condition(rise=0.1)],
        "More and more actions are refused by the environment.",
        "Look at a few episodes with `agentdistill view`; show the admissible commands, or reward the format.",
        steady=True,
    ),
    Rule(
        "clipped",
        "`ratio/clip_rate`",
        metric("ratio/clip_rate"),
        [Condition(above=0.3)],
        "A third of the tokens is outside the trust region before anything was learned from them.",
        "Lower optim.lr, or play with the newest weights (rollouts are stale or computed differently).",
    ),
    Rule(
        "aborted",
        "`rollout/aborted` / `rollout/episodes`",
        ratio("rollout/aborted", "rollout/episodes"),
        [Condition(above=0.1)],
        "The environment dies in many episodes.",
        "Run `agentdistill envs check`, and give it workers with longer deadlines.",
    ),
)
"""All warnings."""
