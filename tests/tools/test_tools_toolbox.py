"""Tools: schemas from signatures, built-in ones, a user's own in a helper process, and those of MCP servers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tool_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from agentdistill.errors import AgentDistillError, ConfigError, EnvironmentFailure, PluginError
from agentdistill_tools.calculator import calculator
from agentdistill_tools.config import McpServerConfig, ToolsConfig
from agentdistill_tools.formats import Call
from agentdistill_tools.mcp import McpServer
from agentdistill_tools.tool import ToolError, WrongArguments, function_tool
from agentdistill_tools.toolbox import Toolbox

TOY = str(Path(__file__).with_name("mcp_toy_server.py"))


@pytest.fixture
def own() -> Iterator[Toolbox]:
    names = ("weather", "total", "hangs", "floods", "raises", "exits", "prints", "surrogates")
    box = Toolbox(ToolsConfig(tools=tuple(f"tool_examples:{name}" for name in names), tool_seconds=2.0))
    yield box
    box.close()


def test_a_schema_is_made_from_signature_and_docstring() -> None:
    assert function_tool(tool_examples.weather).schema == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Forecasts the weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "where, in words of any language."},
                    "days": {"type": "integer", "default": 1, "description": "how many days ahead."},
                    "unit": {
                        "type": "string",
                        "enum": ["C", "F"],
                        "default": "C",
                        "description": "scale of temperatures.",
                    },
                },
                "required": ["city"],
            },
        },
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [("untyped", "has no type"), ("silent", "has no docstring"), ("greedy", "cannot be given by name")],
)
def test_a_function_that_cannot_be_a_tool_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Toolbox(ToolsConfig(tools=(f"tool_examples:{name}",)))


def test_tools_that_do_not_exist_are_named() -> None:
    with pytest.raises(ConfigError, match="pythn"):
        Toolbox(ToolsConfig(tools=("pythn",)))
    with pytest.raises(PluginError, match="no_such_module"):
        Toolbox(ToolsConfig(tools=("no_such_module:x",)))
    with pytest.raises(ConfigError, match="Two tools"):
        Toolbox(ToolsConfig(tools=("calculator", "calculator")))


def test_arguments_are_validated(own: Toolbox) -> None:
    wrong = own.call(Call("weather", {"days": "many", "place": 1}))
    assert wrong.failed and not wrong.accepted
    assert all(name in wrong.text for name in ("city", "days", "place"))
    assert own.call(Call("total", {"numbers": [1, 2.5]})).text == "3.5"
    assert '"city": "Zürich"' in own.call(Call("weather", {"city": "Zürich"})).text
    unknown = own.call(Call("whether", {}))
    assert "weather" in unknown.text and not unknown.accepted


def test_tools_that_misbehave_are_observations(own: Toolbox) -> None:
    before = time.monotonic()
    assert own.call(Call("hangs", {})).text == "Error: the call took longer than 2 s and was stopped"
    assert time.monotonic() - before < 30
    raised = own.call(Call("raises", {}))
    assert raised.failed and raised.accepted and raised.text == "Error: LookupError: no such thing: ü"
    assert "ended the process" in own.call(Call("exits", {})).text
    flood = own.call(Call("floods", {}))
    assert not flood.failed and flood.text == "y" * 8000 + "\n[9992000 more characters are not shown]"
    assert own.call(Call("prints", {})).text == "said"
    own.call(Call("surrogates", {})).text.encode("utf-8", "replace")
    assert own.call(Call("total", {"numbers": [1]})).text == "1.0"


def test_a_helper_that_died_with_its_thread_is_started_again(own: Toolbox) -> None:
    """The helper dies with the thread that started it, and calls from another thread must not notice."""
    from concurrent.futures import ThreadPoolExecutor

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(own.call, Call("total", {"numbers": [1]})).result().text == "1.0"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1 + 2 * 3", "7"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ("1 / 3", "1/3 (about 0.3333333333333333)"),
        ("2 ** 10", "1024"),
        ("2 ^ 10", "1024"),
        ("-7 // 2", "-4"),
        ("2 ** -2", "0.25"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("sqrt(16)", "4.0"),
        ("-(0.5 - 1)", "0.5"),
        ("1_000 * 3", "3000"),
        ("0xff & 15", "15"),
        ("round(2.567, 2)", "2.57"),
    ],
)
def test_the_calculator_is_exact(expression: str, result: str) -> None:
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "",
        "1 +",
        "x",
        "__import__('os')",
        "(1).__class__",
        "[1]",
        "'a' * 9",
        "9 ** 9 ** 9",
        "2 ** 1e9",
        "1 << 10**9",
        "factorial(10**9)",
        "(-1) ** 0.5",
        "1e999 * 0",
        "(" * 999,
        "-" * 1999 + "1",
        "9" * 3000,
        "lambda: 1",
        "1 if 1 else 2",
        "max()",
        "0.5 & 1",
        "1j",
        "True + 1",
        "sqrt(-1)",
        "f'{1}'",
        "9**999 * 9**9999",
    ],
)
def test_the_calculator_refuses_the_rest_at_once(expression: str) -> None:
    before = time.process_time()
    with pytest.raises(ToolError):
        calculator(expression)
    assert time.process_time() - before < 0.5


@given(st.text(alphabet="0123456789.+-*/()%^ gcdsqrtfx,<>&|", max_size=60))
@settings(max_examples=300, deadline=2000)
def test_the_calculator_answers_or_refuses_anything(text: str) -> None:
    try:
        assert calculator(text)
    except ToolError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("while True: print('x' * 1000)", "[stopped: it printed more than 16384 bytes]"),
        ("print('x' * 12000); 1 / 0", "ZeroDivisionError: division by zero\n[exit status 1]"),
    ],
)
def test_why_a_program_failed_is_shown_however_much_it_printed(code: str, end: str) -> None:
    box = Toolbox(ToolsConfig(tools=("python",)))
    called = box.call(Call("python", {"code": code}))
    box.close()
    assert called.failed and len(called.text) < 8100
    assert called.text.endswith(end) and "more characters are not shown]\n" in called.text


def test_mcp_tools_are_tools_like_any_other() -> None:
    threads = threading.active_count()
    server = McpServerConfig(command=sys.executable, args=(TOY,), tools=("add", "fails", "sleeps", "floods"))
    box = Toolbox(ToolsConfig(tools=("calculator",), mcp={"toy": server}, tool_seconds=120.0))
    try:
        assert box.names == ["calculator", "add", "fails", "sleeps", "floods"]
        schema = box.schemas()[1]["function"]
        assert schema["description"] == "Adds two numbers." and set(schema["parameters"]["properties"]) == {"a", "b"}
        assert box.call(Call("add", {"a": 40, "b": 2})).text == "42"
        assert box.call(Call("add", {"a": "x"})).failed
        assert box.call(Call("fails", {})).failed
        assert "more characters" in box.call(Call("floods", {})).text
    finally:
        box.close()
        box.close()
    assert threading.active_count() == threads
    assert not [line for line in _command_lines() if TOY in line]


def test_an_mcp_tool_that_hangs_is_given_up() -> None:
    server = McpServer("toy", McpServerConfig(command=sys.executable, args=(TOY,), tools=("sleeps",)), 1.0)
    try:
        with pytest.raises(ToolError):
            server.tools()[0].call({})
    finally:
        server.close()
    assert not [line for line in _command_lines() if TOY in line]


def test_tools_of_a_server_that_is_somewhere_else() -> None:
    """Over streamable HTTP, from a server of its own that goes away while it is used."""
    threads = threading.active_count()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = subprocess.Popen([sys.executable, TOY, str(port)], stderr=subprocess.DEVNULL)
    try:
        _answers(port, there)
        server = McpServerConfig(url=f"http://127.0.0.1:{port}/mcp", tools=("fails", "add"))
        box = Toolbox(ToolsConfig(tools=("calculator",), mcp={"far": server}, tool_seconds=20.0))
        try:
            assert box.names == ["calculator", "fails", "add"]
            assert box.call(Call("add", {"a": 40, "b": 2})).text == "42"
            assert box.call(Call("add", {"a": "x"})).failed and box.call(Call("fails", {})).failed
            there.kill()
            there.wait()
            assert box.call(Call("add", {"a": 1, "b": 2})).failed
        finally:
            box.close()
        with pytest.raises(EnvironmentFailure, match=r"`far` did not answer.*Try its address in a browser"):
            McpServer("far", server, 5.0)
    finally:
        there.kill()
        there.wait()
    assert threading.active_count() == threads


def _answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until somebody listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


def test_an_mcp_server_that_cannot_be_had_is_one_sentence() -> None:
    for config, message in (
        (McpServerConfig(command="no-such-program"), "no-such-program"),
        (McpServerConfig(command="true"), "did not answer"),
    ):
        with pytest.raises(EnvironmentFailure, match=message):
            McpServer("toy", config, 5.0)
    with pytest.raises(ConfigError, match="`command` or a `url`"):
        McpServer("toy", McpServerConfig(), 5.0)
    server = McpServerConfig(command=sys.executable, args=(TOY,), tools=("subtract",))
    with pytest.raises(ConfigError, match="no tool `subtract`"):
        Toolbox(ToolsConfig(tools=(), mcp={"toy": server}))
    assert not [line for line in _command_lines() if TOY in line]


def test_wrong_arguments_are_tool_errors_that_agents_see() -> None:
    assert issubclass(WrongArguments, ToolError) and not issubclass(ToolError, AgentDistillError)


def _command_lines() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
    return found
