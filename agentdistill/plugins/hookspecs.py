"""Every hook a plugin may implement.

A registration hook gets a callback `register(name, target, *, config=None, summary="")`: `target` and `config`
are lazy references "package.module:attribute", imported only when a run uses them.
"""

from __future__ import annotations

from typing import Any, Protocol

import pluggy

hookspec = pluggy.HookspecMarker("agentdistill")


class Register(Protocol):
    """The callback that registration hooks receive."""

    def __call__(self, name: str, target: str, *, config: str | None = None, summary: str = "") -> None:
        """Registers one thing.

        Args:
            name: what users write as `type = "name"`.
            target: "package.module:attribute"; for models and recipes "package:relative/path".
            config: "package.module:Class" of a `PluginConfig`, or None when it takes no options.
            summary: one line.
        """
        ...


@hookspec
def agentdistill_register_environments(register: Register) -> None:
    """Registers environments. Target: a class of `agentdistill.envs.base.EnvironmentSource`, called with its config."""


@hookspec
def agentdistill_register_contexts(register: Register) -> None:
    """Registers context policies. Target: a class of `agentdistill.conversation.base.ContextPolicy`.

    One that wraps another policy may name the keyword registry besides its config.
    """


@hookspec
def agentdistill_register_engines(register: Register) -> None:
    """Registers engines. Target: callable (config, model: LoadedModel) -> `agentdistill.engines.base.Engine`.

    An engine that asks others besides the model may name the keywords context, renderer and registry, too.
    """


@hookspec
def agentdistill_register_teachers(register: Register) -> None:
    """Registers teachers. Target: callable -> `agentdistill.teachers.base.Teacher`.

    It is called as (config, student=LoadedModel, context=ContextPolicy, renderer=ChatRenderer,
    registry=PluginRegistry),
    with those of the keywords that it names. What it may have besides: `agentdistill.teachers.optional`.
    """


@hookspec
def agentdistill_register_views(register: Register) -> None:
    """Registers privileged views. Target: a class of `agentdistill.teachers.views.View`, called with its config.

    The teacher `privileged` chooses one: `view = {type = "name"}`.
    """


@hookspec
def agentdistill_register_rewards(register: Register) -> None:
    """Registers rewards. Target: function (trajectory, config) -> float32 array [steps], summing to the total.

    Or a class, called with its config, with `score(trajectories) -> list of arrays`, for judges that ask for many at
    once.
    A target with `annotates = frozenset({"name"})` also writes numbers into `Step.info["annotations"]`.
    """


@hookspec
def agentdistill_register_losses(register: Register) -> None:
    """Registers losses.

    Target: a class of `agentdistill.learner.losses.Loss` or `ScheduledLoss`, called with its config.
    """


@hookspec
def agentdistill_register_step_weights(register: Register) -> None:
    """Registers step weights. Target: function (`StepStatistics`, config) -> float32 [trajectories, steps].

    Or a mapping of these by branch ("kd", "rl"). One with a parameter `progress` is given a `LearnerProgress`. What it
    needs besides rollout and scores, it says by `agentdistill.learner.statistics.requires`; one that evens out lengths
    itself names the reductions it goes with in an attribute `reductions`.
    """


@hookspec
def agentdistill_register_token_weights(register: Register) -> None:
    """Registers token weights. Target: function (`TokenStatistics`, config) -> float32 [tokens]; as step weights."""


@hookspec
def agentdistill_register_advantages(register: Register) -> None:
    """Registers RL advantages.

    Target: function (`agentdistill.training.rewarded.RewardedBatch`, config) -> one float32 array [steps] per episode.
    One that compares the episodes of a task has an attribute `needs` = {"groups"}, or a function of the config that
    gives it: a run with one episode of each task is then refused.
    """


@hookspec
def agentdistill_register_fusions(register: Register) -> None:
    """Registers fusions. Target: a class of `agentdistill.learner.fusion.Fusion`, called with its config."""


@hookspec
def agentdistill_register_surrogates(register: Register) -> None:
    """Registers surrogates. Target: a class of `agentdistill.learner.surrogates.Surrogate`, called with its config."""


@hookspec
def agentdistill_register_filters(register: Register) -> None:
    """Registers filters.

    Target: function (`agentdistill.training.rewarded.ScoredBatch`, config) -> one bool array [steps] per episode.
    """


@hookspec
def agentdistill_register_curricula(register: Register) -> None:
    """Registers curricula. Target: a class of `agentdistill.training.curriculum.Curriculum`, called with its config."""


@hookspec
def agentdistill_register_selections(register: Register) -> None:
    """Registers selections of collected episodes, for `agentdistill select`.

    Target: function (candidates, config) -> one `agentdistill.training.selection.Worth` per `Candidate`. Its attribute
    `needs`, if it has one, names the models it compares: "student", "teacher", "distilled"; `uses` those it can use.
    """


@hookspec
def agentdistill_register_trackers(register: Register) -> None:
    """Registers trackers.

    Target: callable (config, directory) -> object with `log(step, metrics)`, `truncate(step)`, which forgets what was
    logged after a step because a resumed run logs it again, and `close()`.
    """


@hookspec
def agentdistill_register_benchmarks(register: Register) -> None:
    """Registers benchmarks. Name: "<environment>/<panel>". Target: callable (source, config) -> `Panel`."""


@hookspec
def agentdistill_register_models(register: Register) -> None:
    """Registers named model directories. Target: "package:relative/directory"."""


@hookspec
def agentdistill_register_recipes(register: Register) -> None:
    """Registers named recipes. Target: "package:relative/file.toml"."""


@hookspec
def agentdistill_register_commands(register: Register) -> None:
    """Registers CLI commands. Target: a click command."""


@hookspec
def agentdistill_run_start(event: Any) -> None:
    """A run is about to start. `event` is an `agentdistill.training.events.RunStart`."""


@hookspec
def agentdistill_episode_end(event: Any) -> None:
    """An episode was played. `event` is an `agentdistill.training.events.EpisodeEnd`."""


@hookspec
def agentdistill_batch_ready(event: Any) -> None:
    """A batch was scored and is about to be learned from (`agentdistill.training.events.BatchReady`)."""


@hookspec
def agentdistill_step_end(event: Any) -> None:
    """An optimiser step is done. `event` is an `agentdistill.training.events.StepEnd`."""


@hookspec
def agentdistill_checkpoint(event: Any) -> None:
    """A checkpoint was written. `event` is an `agentdistill.training.events.CheckpointSaved`."""


@hookspec
def agentdistill_restore(event: Any) -> None:
    """A run was resumed. `event` is an `agentdistill.training.events.Restored`."""


@hookspec
def agentdistill_eval_end(event: Any) -> None:
    """An evaluation is done. `event` is an `agentdistill.training.events.EvalEnd`."""


@hookspec
def agentdistill_run_end(event: Any) -> None:
    """A run is over. `event` is an `agentdistill.training.events.RunEnd`."""


@hookspec
def agentdistill_error(event: Any) -> None:
    """A run failed. `event` is an `agentdistill.training.events.RunError`."""
