"""`agentdistill doctor`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from agentdistill.cli.recipe import RecipeCommand, load_registry, plugin_option, resolve
from agentdistill.errors import AgentDistillError

if TYPE_CHECKING:
    from agentdistill.plugins.registry import PluginRegistry
    from agentdistill.records import ScoreRequest
    from agentdistill.selftest import SelfTest
    from agentdistill.training.assembly import Parts

Check = Callable[[], str]


@click.command(cls=RecipeCommand)
@click.argument("recipe", nargs=-1)
@plugin_option
def doctor(recipe: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Check that a RECIPE can run here: plugins, data, models, and that its parts fit together.

    Nothing is trained and nothing is written. Every check is made, whatever the ones before it found.
    """
    registry = load_registry(plugins)
    resolved = resolve(recipe, plugins, registry)
    resolved.require("env", "student")
    from agentdistill.cli.quiet import quiet_loading
    from agentdistill.training.assembly import Parts

    quiet_loading()
    told: dict[str, str] = {}
    failed = [name for name, check in checks(Parts(resolved, registry), registry) if not _report(name, check, told)]
    if failed:
        click.echo(f"{len(failed)} of the checks failed: {', '.join(failed)}")
        sys.exit(1)
    click.echo(f"The recipe can run here (configuration {resolved.hash}).")


def _report(name: str, check: Check, told: dict[str, str]) -> bool:
    """Makes one check and prints its line.

    Args:
        name: what is checked.
        check: makes the check and says what it found.
        told: errors printed so far and whose they were; a part that fails because another did only refers to it.
    """
    try:
        message = check()
    # One part that is broken in an unforeseen way must not hide the state of the others.
    except Exception as error:
        text = str(error) if isinstance(error, AgentDistillError) else f"{type(error).__name__}: {error}"
        first = told.setdefault(text, name)
        click.echo(f"{click.style('fail', fg='red')}  {name:<11} {text if first == name else f'see {first}'}")
        return False
    click.echo(f"{click.style('ok', fg='green')}    {name:<11} {message}")
    return True


def checks(parts: Parts, registry: PluginRegistry) -> list[tuple[str, Check]]:
    """The checks of a recipe, from the cheapest to the dearest."""
    config = parts.config
    assert config.env is not None and config.student is not None

    def plugins() -> str:
        broken = [f"{plugin.name} ({plugin.error})" for plugin in registry.broken]
        healthy = sum(plugin.status == "ok" for plugin in registry.plugins)
        return f"{healthy} loaded" + (f"; broken, and not used here: {'; '.join(broken)}" if broken else "")

    def environment() -> str:
        return f"{parts.source.name}/{config.env.split if config.env else ''}: {len(parts.tasks):,} tasks"

    def episode() -> str:
        env = parts.source.make()
        try:
            task = parts.tasks[0]
            observation, info = env.reset(seed=task.seed, options={"task": task})
            commands = len(info.get("admissible_actions", ()))
            return f"{task.key}: {len(observation)} characters, {commands} admissible actions"
        finally:
            env.close()

    def panel() -> str:
        if config.eval.panel is None:
            return "none is configured: the run will not be evaluated"
        from agentdistill.training.evaluation import panel_of

        found = panel_of(parts)
        return f"{found.name}: {len(found.tasks)} tasks, {found.hash}"

    def student() -> str:
        from agentdistill.models import count_parameters

        model = parts.student.model
        return f"{parts.student.name}: {count_parameters(model, trainable=True):,} parameters to train"

    def context() -> str:
        assert config.env is not None
        return f"{config.env.context.type}, prompt {parts.context.prompt_hash}, {type(parts.renderer).__name__}"

    def engine() -> str:
        return f"{config.engine.type}, {parts.engine.context_length:,} tokens of context"

    def teacher() -> str:
        if parts.tutor is None:
            return "none is asked"
        return f"{parts.teacher.fingerprint}: {', '.join(sorted(parts.teacher.capabilities))}"

    def loss() -> str:
        if config.loss is None:
            return "none: rewards or turns to imitate teach alone"
        return f"{config.loss.type}, asks the teacher for {_words(parts.request)}"

    def methods() -> str:
        used = {kind: _types(getattr(config, kind)) for kind in ("step_weight", "token_weight", "reward", "advantage")}
        used |= {kind: _types(getattr(config, kind)) for kind in ("fusion", "surrogate", "filter")}
        told = [f"{kind.replace('_', ' ')} {' and '.join(names)}" for kind, names in used.items() if names]
        needs = f"; they look at {', '.join(sorted(parts.needs))}" if parts.needs else ""
        return (" · ".join(told) or "none") + needs

    def curriculum() -> str:
        needs, some = parts.curriculum.needs, parts.tasks[:5]
        told = [f"{config.curriculum.type}, needs {', '.join(sorted(needs)) or 'nothing'}"]
        if parts.guides:
            told.append(f"guides: {', '.join(parts.guides)}")
        for kind, look in (("demonstrations", parts.demonstrations), ("recordings", parts.recordings)):
            if kind in needs:
                found = sum(look(task) is not None for task in some)
                told.append(f"{kind} for {found} of the first {len(some)} tasks")
        return " · ".join(told)

    def self_score() -> str:
        from agentdistill.training.preflight import self_score as measure

        return f"|Δ| {measure(test).max_abs:.0e}"

    def relied_on() -> str:
        from agentdistill.training.preflight import own_checks

        return (
            " · ".join(" ".join(line.split()) for line in own_checks(test)) or "teacher, engine and rewards have none"
        )

    from agentdistill.selftest import CHECKS, SelfTest

    test = SelfTest(parts)
    return [
        ("plugins", plugins),
        ("environment", environment),
        ("episode", episode),
        ("panel", panel),
        ("student", student),
        ("context", context),
        ("engine", engine),
        ("teacher", teacher),
        ("loss", loss),
        ("methods", methods),
        ("curriculum", curriculum),
        ("self-score", self_score),
        ("own checks", relied_on),
        *((name, _timed(check, test)) for name, check in CHECKS.items()),
    ]


def _types(sections: Any) -> list[str]:
    """The plugins that one section, or several, choose."""
    several = sections if isinstance(sections, tuple) else (sections,)
    return [section.type for section in several if section is not None]


def _words(request: ScoreRequest) -> str:
    """What a teacher is asked for."""
    asked = {
        "the sampled log-probabilities": request.sampled,
        f"the top {request.top_k}": request.top_k,
        "hidden states": request.hidden,
        "entropies": request.entropy,
        "largest probabilities": request.confidence,
    }
    return ", ".join(words for words, wanted in asked.items() if wanted) or "nothing"


def _timed(check: Callable[[SelfTest], str], test: SelfTest) -> Check:
    """A check of the self-test that also says how long it took."""

    def timed() -> str:
        began = time.perf_counter()
        return f"{check(test)} ({time.perf_counter() - began:.1f} s)"

    return timed
