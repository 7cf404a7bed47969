"""The sections of a recipe. Unknown keys are errors; sections with a `type` keep their plugin's own keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from agentdistill.config.sections import (
    AdvantageSection,
    CurriculumSection,
    FilterSection,
    FusionSection,
    LossSection,
    PluginSection,
    RewardSection,
    Section,
    StepWeightSection,
    SurrogateSection,
    TeacherSection,
    TokenWeightSection,
    one_or_more,
)

Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Mass = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RunSection(Section):
    """The run as a whole.

    Attributes:
        name: names the run and its directory.
        seed: the root of every random draw.
        directory: where the run is written; unset is "runs/NAME".
        resume: continue from the last checkpoint in the directory.
        checkpoint_every: optimiser steps between checkpoints; 0 writes only the last.
        keep_checkpoints: how many of them are kept.
        plugins: modules loaded as plugins, as with `-p`.
        self_test: check objective, masks, environment and schedules with the run's own parts before it starts; seconds.
        diagnostics: measure tokens by role, too, and entropies and top-k overlap where engine and teacher report them.
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[\w.\-]+$")] = "run"
    seed: Natural = 0
    directory: str | None = None
    resume: bool = False
    checkpoint_every: Natural = 25
    keep_checkpoints: Count = 2
    plugins: tuple[str, ...] = ()
    self_test: bool = True
    diagnostics: bool = True


class ContextSection(PluginSection):
    """How the steps so far become a prompt."""

    KIND = "context"


class WorkersSection(Section):
    """Environments in supervised processes (docs/workers.md).

    Attributes:
        count: processes; 0 plays in this process, which is best for environments that answer in a few milliseconds.
        ordered: sample for all conversations at once, so that results are the same to the last bit as in one
            process; otherwise a slow environment does not hold up the others.
        step_seconds: longest step; a process that takes longer is killed and its episodes are tried again.
        reset_seconds: longest start of an episode, making the environment included.
        heartbeat_seconds: longest time without a sign of life of a process that works.
        retries: how often an episode is tried again before it counts as aborted.
        memory_mb: resident memory of a process at which it is replaced, in MiB.
    """

    count: Natural = 0
    ordered: bool = False
    step_seconds: Seconds = 60.0
    reset_seconds: Seconds = 300.0
    heartbeat_seconds: Seconds = 30.0
    retries: Natural = 3
    memory_mb: Count | None = None


class EnvSection(PluginSection):
    """The environment to train in.

    Attributes:
        split: split of its tasks.
        max_steps: the agent's turns per episode.
        context: context policy; a `type` and that plugin's options.
        workers: whether environments run in processes of their own.
    """

    KIND = "environment"

    split: str = "train"
    max_steps: Count = 30
    context: ContextSection = ContextSection(type="append")
    workers: WorkersSection = WorkersSection()


class LoraSection(Section):
    """Low-rank adapters instead of full weights.

    Attributes:
        rank: rank of the update.
        alpha: its scale; unset is twice the rank.
        dropout: dropout on the adapter's input.
        targets: module names, or "all-linear".
    """

    rank: Count = 32
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | tuple[str, ...] = "all-linear"


class StudentSection(Section):
    """The model that learns.

    Attributes:
        model: a registered model's name, a directory, or a hub id.
        lora: train adapters only.
        dtype: dtype of the weights.
        device: torch device.
    """

    model: str
    lora: LoraSection | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"


class EngineSection(PluginSection):
    """What samples from the student."""

    KIND = "engine"


class TrackerSection(PluginSection):
    """Where metrics go, besides the run directory."""

    KIND = "tracker"


class RolloutSection(Section):
    """How training episodes are played.

    Attributes:
        tasks_per_step: tasks drawn for one optimiser step.
        samples_per_task: episodes of each.
        temperature: sampling temperature.
        top_p: nucleus mass, 1 is off.
        max_new_tokens: most tokens of one turn, its terminator included.
        concurrency: episodes played at once.
        constrained: restrict responses to the admissible actions.
        source: a trajectory store of episodes that were played before, to train on instead of playing (docs/cache.md);
            unset plays.
    """

    tasks_per_step: Count = 16
    samples_per_task: Count = 1
    temperature: Temperature = 1.0
    top_p: Mass = 1.0
    max_new_tokens: Count = 64
    concurrency: Count = 64
    constrained: bool = False
    source: Annotated[str, Field(min_length=1)] | None = None


class OptimSection(Section):
    """The optimiser and the reduction of per-token losses.

    Attributes:
        lr: peak learning rate.
        steps: optimiser steps of the run.
        warmup: steps of linear warm-up.
        schedule: shape after warm-up.
        final_lr_ratio: learning rate at the end, as a fraction of `lr` (linear and cosine).
        optimizer: "adamw", or "muon" for the hidden matrices with AdamW for embeddings, output layer and vectors.
        muon_ratio: Muon's learning rate as a multiple of `lr`.
        weight_decay: decoupled weight decay, on matrices only.
        betas: Adam's two decay rates.
        eps: Adam's epsilon.
        grad_clip: largest gradient norm; false is no clipping.
        reduction: "token-mean" (every token counts the same), "turn-mean" (every turn), or "blend".
        blend: share of turn-mean in "blend".
        weight_norm: "none" keeps the scale of step x token weights; "mean1" rescales them to a mean of 1.
        imitation: coefficient of the cross-entropy over turns that somebody better wrote.
        epochs: how often each batch is gone through. Beyond the first update the student is no longer quite the one
            that played; surrogates clip or weigh by the ratio of the two.
        minibatches: parts a batch is cut into, by tasks; each makes an optimiser update of its own.
        max_dead_rows: largest share of a batch's rows without any teacher score; the run stops above it.
        micro_batch_tokens: most tokens of one forward pass, padding included.
        gradient_checkpointing: recompute activations in the backward pass.
        bf16: compute forward passes in bfloat16 (weights and optimiser state stay as they are).
    """

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-6
    steps: Count = 100
    warmup: Natural = 0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8
    grad_clip: Annotated[float, Field(gt=0)] | None = 1.0
    reduction: Literal["token-mean", "turn-mean", "blend"] = "token-mean"
    blend: Annotated[float, Field(ge=0, le=1)] = 0.5
    weight_norm: Literal["none", "mean1"] = "none"
    imitation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    epochs: Count = 1
    minibatches: Count = 1
    max_dead_rows: Annotated[float, Field(ge=0, le=1)] = 0.5
    micro_batch_tokens: Count = 16384
    gradient_checkpointing: bool = False
    bf16: bool = False


class EvalSection(Section):
    """Evaluation: student only, full depth, over a panel.

    Attributes:
        panel: "<environment>/<panel>"; unset evaluates nothing.
        every: optimiser steps between evaluations; 0 is before and after only.
        limit: play only the first tasks of the panel; the panel's name says so.
        temperature: sampling temperature, 0 is greedy.
        top_p: nucleus mass, 1 is off.
        max_steps: turns per episode; unset is `env.max_steps`.
        max_new_tokens: most tokens of one turn; unset is `rollout.max_new_tokens`.
        concurrency: episodes played at once; unset is `rollout.concurrency`.
        constrained: restrict responses to the admissible actions; such results are reported apart.
        env: keys of [env] that differ in evaluation.
    """

    panel: str | None = None
    every: Natural = 0
    limit: Count | None = None
    temperature: Temperature = 0.0
    top_p: Mass = 1.0
    max_steps: Count | None = None
    max_new_tokens: Count | None = None
    concurrency: Count | None = None
    constrained: bool = False
    env: dict[str, Any] = Field(default_factory=dict)

    @field_validator("panel")
    @classmethod
    def _has_two_parts(cls, value: str | None) -> str | None:
        if value is not None and not all(value.partition("/")[::2]):
            raise ValueError('a panel is written "<environment>/<panel>"')
        return value


class DemonstrationsSection(Section):
    """Where successful action lists come from, for curricula that replay them and for imitation.

    Attributes:
        source: "expert" (the environment's expert plays), or a trajectory store that `collect` wrote.
        limit: use only the first episodes.
        max_steps: longest episode used; unset is `env.max_steps`.
    """

    source: Annotated[str, Field(min_length=1)] = "expert"
    limit: Count | None = None
    max_steps: Count | None = None


LISTS = ("step_weight", "token_weight", "reward", "filter")
"""Sections that may be given several times."""


class RunConfig(Section):
    """A whole recipe, validated. See docs/configuration.md.

    Attributes:
        run: the run as a whole.
        env: the environment to train in.
        student: the model that learns.
        teacher: who scores the student's tokens.
        curriculum: who plays which turn, from where, how deep.
        step_weight: how much each step counts.
        token_weight: how much each token counts.
        loss: what the learner minimises.
        reward: what an episode is worth, the sum of one or more terms.
        advantage: how rewards become the advantage of each turn; unset learns from the teacher only.
        fusion: how much the teacher and how much the rewards count; unset counts both fully.
        surrogate: how advantages are clipped; unset is the clipped ratio with the loss's own bounds.
        filter: which turns of a batch may be trained, one or more in order.
        rollout: how training episodes are played.
        optim: the optimiser and the reduction.
        eval: evaluation.
        engine: what samples from the student.
        tracker: where metrics go, besides the run directory.
        demonstrations: where successful action lists come from.
    """

    run: RunSection = RunSection()
    env: EnvSection | None = None
    student: StudentSection | None = None
    teacher: TeacherSection | None = None
    curriculum: CurriculumSection = CurriculumSection(type="full")
    step_weight: Annotated[tuple[StepWeightSection, ...], one_or_more] = (StepWeightSection(type="uniform"),)
    token_weight: Annotated[tuple[TokenWeightSection, ...], one_or_more] = ()
    loss: LossSection | None = None
    reward: Annotated[tuple[RewardSection, ...], one_or_more] = ()
    advantage: AdvantageSection | None = None
    fusion: FusionSection | None = None
    surrogate: SurrogateSection | None = None
    filter: Annotated[tuple[FilterSection, ...], one_or_more] = ()
    rollout: RolloutSection = RolloutSection()
    optim: OptimSection = OptimSection()
    eval: EvalSection = EvalSection()
    engine: EngineSection = EngineSection(type="hf")
    tracker: TrackerSection | None = None
    demonstrations: DemonstrationsSection = DemonstrationsSection()

    def plugin_sections(self) -> Iterator[tuple[str, PluginSection]]:
        """Yields (dotted path, section) of every section whose `type` names a plugin; of several, "name.0" and on."""
        for name in type(self).model_fields:
            section = getattr(self, name)
            if isinstance(section, PluginSection):
                yield name, section
            if name in LISTS:
                for number, one in enumerate(section):
                    yield f"{name}.{number}", one
            if isinstance(section, EnvSection):
                yield f"{name}.context", section.context

    def evaluation_env(self) -> EnvSection:
        """[env] as evaluation sees it: with the keys of [eval.env] and `eval.max_steps` over it."""
        assert self.env is not None
        values = {**self.env.model_dump(), **self.eval.env}
        if self.eval.max_steps is not None:
            values["max_steps"] = self.eval.max_steps
        return EnvSection.model_validate(values)


def section_kinds() -> dict[str, str]:
    """Kind of plugin by the dotted path of its section."""
    import inspect
    from typing import get_args

    kinds: dict[str, str] = {"env.context": ContextSection.KIND}
    for name, field in RunConfig.model_fields.items():
        for candidate in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(candidate) and issubclass(candidate, PluginSection):
                kinds[name] = candidate.KIND
    return kinds
