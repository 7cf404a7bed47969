"""Source of a distribution with one toy plugin for every section that needs one."""

TOYS = '''
from agentdistill import hookimpl
from agentdistill.plugins import PluginConfig
from pydantic import BaseModel

class EnvConfig(PluginConfig):
    """Toy environment."""
    engine: str = "fast"
    split: str = "train"
    size: int | None = 3

class ContextConfig(PluginConfig):
    """Toy context."""
    steps: int = 2
    think: bool = False

class CurriculumConfig(PluginConfig):
    """Toy curriculum."""
    start: int = 1
    every: int = 4

class ServedConfig(PluginConfig):
    """Toy teacher with a URL."""
    url: str
    names: tuple[str, ...] = ()

class LocalConfig(PluginConfig):
    """Toy teacher with a model."""
    model: str
    clip: float = 5.0

class Any_:
    def __init__(self, config, **kwargs):
        self.config = config

def weight(steps, config):
    return steps

@hookimpl
def agentdistill_register_environments(register):
    register("toy-env", "toy_plugin:Any_", config="toy_plugin:EnvConfig", summary="a toy")

@hookimpl
def agentdistill_register_contexts(register):
    register("toy-context", "toy_plugin:Any_", config="toy_plugin:ContextConfig")

@hookimpl
def agentdistill_register_curricula(register):
    register("toy-curriculum", "toy_plugin:Any_", config="toy_plugin:CurriculumConfig")

@hookimpl
def agentdistill_register_teachers(register):
    register("toy-served", "toy_plugin:Any_", config="toy_plugin:ServedConfig")
    register("toy-local", "toy_plugin:Any_", config="toy_plugin:LocalConfig")

@hookimpl
def agentdistill_register_step_weights(register):
    register("toy-weight", "toy_plugin:weight")

@hookimpl
def agentdistill_register_engines(register):
    register("toy-engine", "toy_plugin:Any_")

@hookimpl
def agentdistill_register_losses(register):
    register("toy-loss", "toy_plugin:Any_")

@hookimpl
def agentdistill_register_recipes(register):
    register("toy", "toy_data:recipes/toy.toml", summary="a toy run")
'''

RECIPE = """
[run]
name = "toy"

[env]
type = "toy-env"
max_steps = 12
context = { type = "toy-context", steps = 3 }

[student]
model = "some/model"
lora = { rank = 8 }

[teacher]
type = "toy-served"
url = "http://localhost:8000/v1"

[curriculum]
type = "toy-curriculum"

[step_weight]
type = "toy-weight"

[engine]
type = "toy-engine"

[loss]
type = "toy-loss"

[optim]
lr = 1e-6
"""
