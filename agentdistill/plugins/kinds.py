"""The kinds of things a plugin can register, and the hook that registers each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of plugin.

    Attributes:
        name: singular, as users read it ("step-weight").
        hook: name of the registration hook.
        summary: one line for `plugins list` and the docs.
        keywords: what targets of this kind are offered by keyword besides their config; each takes those it names.
    """

    name: str
    hook: str
    summary: str
    keywords: tuple[str, ...] = ()


def _kind(name: str, plural: str, summary: str, *keywords: str) -> Kind:
    return Kind(name, f"agentdistill_register_{plural.replace('-', '_')}", summary, keywords)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("environment", "environments", "a source of tasks and Gymnasium text environments"),
        _kind("context", "contexts", "steps so far -> messages, response -> action", "registry"),
        _kind(
            "engine",
            "engines",
            "token ids -> sampled token ids and log-probs",
            "model",
            "context",
            "renderer",
            "registry",
        ),
        _kind("teacher", "teachers", "scores every token the student wrote", "student", "context", "registry"),
        _kind("view", "views", "what a privileged teacher is shown that the student was not"),
        _kind("reward", "rewards", "trajectory -> per-step and total reward"),
        _kind("loss", "losses", "per-token advantage or divergence"),
        _kind("step-weight", "step_weights", "step statistics -> one weight per step"),
        _kind("token-weight", "token_weights", "token statistics -> one weight per token"),
        _kind("advantage", "advantages", "groups of trajectories and rewards -> RL advantage"),
        _kind("fusion", "fusions", "how much the teacher and how much the rewards count"),
        _kind("surrogate", "surrogates", "advantage and importance ratio -> loss"),
        _kind("filter", "filters", "which turns of a batch may be trained"),
        _kind("curriculum", "curricula", "who plays which turn, from where, how deep"),
        _kind("selection", "selections", "which collected episodes are worth imitating"),
        _kind("tracker", "trackers", "where metrics go", "directory"),
        _kind("benchmark", "benchmarks", "named panels with their published protocol"),
        _kind("model", "models", "named model directories that ship with a plugin"),
        _kind("recipe", "recipes", "named TOML recipes that ship with a plugin"),
        _kind("command", "commands", "extra CLI commands"),
    )
}
