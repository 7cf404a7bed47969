"""Options of the tool-use environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from agentdistill.plugins import PluginConfig
from agentdistill_tools.sandbox.limits import PythonConfig

Count = Annotated[int, Field(ge=1)]

Format = Literal["hermes", "json"]
"""hermes: `<tool_call>{...}</tool_call>` and `<answer>...</answer>` in free text. json: one JSON object a turn."""

ARITHMETIC = (
    "base_conversion",
    "basic_arithmetic",
    "bitwise_arithmetic",
    "chain_sum",
    "count_bits",
    "count_primes",
    "decimal_arithmetic",
    "decimal_chain_sum",
    "dice",
    "fraction_simplification",
    "gcd",
    "lcm",
    "power_function",
    "prime_factorization",
    "products",
    "simple_equations",
)
"""The families the scripted expert can do."""


class SizesConfig(PluginConfig):
    """How many questions each split has, over all families together.

    Attributes:
        train: questions of the split "train".
        eval: questions of the split "eval".
        test: questions of the split "test".
    """

    train: Annotated[int, Field(ge=1, le=10_000_000)] = 8000
    eval: Annotated[int, Field(ge=1, le=10_000_000)] = 240
    test: Annotated[int, Field(ge=1, le=10_000_000)] = 480


class McpServerConfig(PluginConfig):
    """A server of the Model Context Protocol whose tools the agent may use.

    A server is started as a process of yours, outside the sandbox: what its tools can do, the agent can.

    Attributes:
        command: program of a server that speaks over its standard input and output.
        args: its arguments.
        env: environment variables added for it.
        url: address of a server that speaks streamable HTTP, instead of a command.
        tools: names of the tools to offer; None offers them all.
    """

    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    url: str | None = None
    tools: tuple[str, ...] | None = None


class ToolsConfig(PluginConfig):
    """Questions that are answered with tools.

    Attributes:
        split: split that `reset` draws from when it is given no task: "train", "eval" or "test".
        families: reasoning-gym datasets that questions come from, in turns.
        family_options: difficulty knobs of families, as `reasoning_gym.create_dataset` takes them, e.g.
            {"chain_sum": {"max_terms": 8}}.
        questions: a JSONL file of {"question": ..., "answer": ...} instead of reasoning-gym. Optional keys: "id",
            "split" (else drawn from the question: 8 of 10 train, 1 eval, 1 test) and "type".
        skip_bad_rows: leave out rows of that file that cannot be read, and count them, instead of stopping.
        sizes: how many questions to make.
        seed: seed of the questions; another seed gives other questions.
        tools: names of built-in tools ("python", "calculator") and your own functions as "module:function".
        python: limits of the tool `python`.
        tool_seconds: deadline of a call of your own functions and of MCP servers.
        mcp: MCP servers by a name of your choice.
        format: how the agent writes its calls and its answer.
        output_chars: most characters of a tool's result that the agent sees; the rest is counted, not shown.
        action_chars: most characters of a turn; longer ones are refused unread.
        calls_per_turn: most tool calls in one turn.
        reward: "won" is 1 for a right answer; "score" is what the verifier gives, which may be partial.
        step_limit: turns after which the environment itself truncates an episode; None leaves that to the caller.
    """

    split: str = "train"
    families: Annotated[tuple[str, ...], Field(min_length=1)] = ARITHMETIC
    family_options: Mapping[str, Mapping[str, Any]] = {}
    questions: str | None = None
    skip_bad_rows: bool = False
    sizes: SizesConfig = SizesConfig()
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    tools: tuple[str, ...] = ("python", "calculator")
    python: PythonConfig = PythonConfig()
    tool_seconds: Annotated[float, Field(gt=0)] = 10.0
    mcp: Mapping[str, McpServerConfig] = {}
    format: Format = "hermes"
    output_chars: Annotated[int, Field(ge=100)] = 8000
    action_chars: Annotated[int, Field(ge=100)] = 65_536
    calls_per_turn: Count = 8
    reward: Literal["won", "score"] = "won"
    step_limit: Count | None = None
