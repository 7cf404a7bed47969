"""The tools of one environment: which there are, and what comes of calling them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentdistill.errors import AgentDistillError, ConfigError, EnvironmentFailure, PluginError
from agentdistill.plugins.suggest import hint
from agentdistill_tools.calculator import calculator
from agentdistill_tools.config import ToolsConfig
from agentdistill_tools.formats import Call
from agentdistill_tools.remote import Beginning, Helper
from agentdistill_tools.sandbox.limits import PythonConfig
from agentdistill_tools.sandbox.probe import find_jail
from agentdistill_tools.sandbox.run import Ending, Outcome, run_python
from agentdistill_tools.tool import Tool, ToolError, WrongArguments, function_tool

BUILT_IN = ("python", "calculator")

_END = 1000
"""Characters of the end of a failed program's output that are always shown: the traceback, or why it was stopped."""


@dataclass(frozen=True, slots=True)
class Called:
    """What came of a call.

    Attributes:
        text: what the agent sees.
        failed: it is an error.
        accepted: there is such a tool, and the arguments are of the right form.
    """

    text: str
    failed: bool = False
    accepted: bool = True


class Toolbox:
    """The tools that an environment offers.

    Args:
        config: which tools, and their limits.

    Raises:
        ConfigError: a tool does not exist or cannot be one, two have the same name, or the tool `python` has no sandbox
            here and was not allowed to go without.
    """

    def __init__(self, config: ToolsConfig) -> None:
        self._config = config
        self._helper = Helper()
        self._servers: list[Any] = []
        self._tools: dict[str, Tool] = {}
        try:
            for name in config.tools:
                self._add(self._make(name))
            for label, server in config.mcp.items():
                from agentdistill_tools.mcp import McpServer

                self._servers.append(McpServer(label, server, config.tool_seconds))
                for tool in self._servers[-1].tools():
                    self._add(tool)
        except BaseException:
            self.close()
            raise

    @property
    def names(self) -> list[str]:
        """The tools, in the order they are shown."""
        return list(self._tools)

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as JSON schemas."""
        return [tool.schema for tool in self._tools.values()]

    def call(self, call: Call) -> Called:
        """Calls a tool. Whatever it does wrong is an error the agent sees.

        Raises:
            EnvironmentFailure: the sandbox itself broke.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            name = call.name[:100]
            text = f"there is no tool `{name}`.{hint(name, self.names)} There are: {', '.join(self.names)}."
            return Called(f"Error: {text}", True, False)
        try:
            return Called(self._shown(tool.call(call.arguments)))
        except PythonFailed as error:
            return Called(self._shown(str(error), end=_END), True)
        except ToolError as error:
            return Called(self._shown(f"Error: {error}"), True, not isinstance(error, WrongArguments))
        except AgentDistillError:
            raise
        except Exception as error:  # a tool's own mistake, told to whoever called it
            return Called(self._shown(f"Error: {type(error).__name__}: {error}"), True)

    def close(self) -> None:
        """Ends helper processes and servers. Closing twice is allowed."""
        self._helper.close()
        while self._servers:
            self._servers.pop().close()

    def _add(self, tool: Tool) -> None:
        if tool.name in self._tools:
            raise ConfigError(
                f"Two tools are named `{tool.name}`.", do="Rename one, or choose with `tools` of a server."
            )
        self._tools[tool.name] = tool

    def _make(self, name: str) -> Tool:
        if name == "python":
            return function_tool(python_tool(self._config.python))
        if name == "calculator":
            return function_tool(calculator)
        module, found, attribute = name.partition(":")
        if not found:
            raise ConfigError(
                f"There is no tool `{name}`.{hint(name, BUILT_IN)}",
                f'Built in are {", ".join(BUILT_IN)}; your own functions are "module:function".',
                "Correct `env.tools`.",
            )
        try:
            function = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"The tool `{name}` cannot be imported.",
                f"{type(error).__name__}: {error}.",
                "Correct `env.tools`, or install its package here.",
            ) from error

        def call(arguments: Mapping[str, Any]) -> str:
            request = {"target": name, "arguments": dict(arguments)}
            seconds = self._config.tool_seconds
            return self._helper.call("agentdistill_tools.tool:call_by_name", request, seconds, prepare=name)

        return function_tool(function, call)

    def _shown(self, text: str, end: int = 0) -> str:
        """A text without what is too much; of a longer one the last `end` characters, which say what went wrong."""
        most = self._config.output_chars
        left_out = text.left_out if isinstance(text, Beginning) else 0
        if len(text) > most:
            end = min(end, most // 2)
            left_out += len(text) - most
            text, last = text[: most - end], text[len(text) - end :]
        else:
            last = ""
        note = f"\n[{left_out} more characters are not shown]" if left_out else ""
        return text + note + (f"\n{last}" if last else "")


class PythonFailed(ToolError):
    """The code failed; its output says how."""


def python_tool(limits: PythonConfig) -> Callable[[str], str]:
    """The tool `python`, ready to run.

    Raises:
        NoSandbox: there is no sandbox here, and `limits.unsafe` is off.
    """
    jail = None if limits.unsafe else find_jail()

    def python(code: str) -> str:
        """Runs a Python 3 program and returns what it prints, and the value of its last expression.

        Args:
            code: the program. Nothing is kept from one call to the next. There is no network.
        """
        outcome = run_python(code, limits, jail)
        text = _report(outcome, limits)
        if outcome.ending is not Ending.DONE:
            raise PythonFailed(text)
        return text

    return python


def _report(outcome: Outcome, limits: PythonConfig) -> str:
    note: Mapping[Ending, str] = {
        Ending.TIME: f"stopped: it ran longer than {limits.seconds:g} s",
        Ending.CPU: f"stopped: it used more than {limits.cpu_seconds} s of CPU time",
        Ending.OUTPUT: f"stopped: it printed more than {limits.output_bytes} bytes",
        Ending.KILLED: f"killed by signal {outcome.status - 128}",
        Ending.FAILED: f"exit status {outcome.status}",
    }
    output = outcome.output.rstrip("\n")
    if outcome.ending is Ending.DONE:
        return output or "(no output)"
    return f"{output}\n[{note[outcome.ending]}]".lstrip("\n")


def describe_tools(config: ToolsConfig) -> Sequence[Mapping[str, Any]]:
    """What a result needs to say about its tools."""
    sandbox = "not used"
    if "python" in config.tools:
        try:
            sandbox = "none (unsafe)" if config.python.unsafe else find_jail().name
        except (ConfigError, EnvironmentFailure):
            sandbox = "none works here"
    limits = config.python.model_dump(exclude={"unsafe"}) if "python" in config.tools else {}
    servers = [{"server": name, "tools": server.tools} for name, server in config.mcp.items()]
    return [{"tools": list(config.tools)}, {"sandbox": sandbox, **limits}, *servers]
