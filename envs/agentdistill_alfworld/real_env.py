"""TextWorld's `PddlEnv` with its caches. Imported only through `agentdistill_alfworld.real`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import fast_downward
import textworld
from textworld.core import GameState
from textworld.envs import PddlEnv
from textworld.envs.pddl import logic as pddl_logic
from textworld.logic import Action, Placeholder, Proposition, Variable

from agentdistill_alfworld.grammar import game_logic
from agentdistill_alfworld.translation import PARSER_LOCK, Translation, translate
from agentdistill_alfworld.upstream import import_alfworld


class CachedState(pddl_logic.PddlState):
    """TextWorld's state over a translation made before.

    Args:
        library: Fast Downward's library, private to the environment.
        logic: logic of the game.
        translation: the translated game.
    """

    def __init__(self, library: Any, logic: pddl_logic.GameLogic, translation: Translation) -> None:
        self._logic = logic
        self.downward_lib = library
        self.sas = translation.sas.encode()
        self.name2type = {name: kind for name, kind in translation.objects}
        for name, parents in translation.types:
            if name not in logic.types._types:
                logic.types.add(textworld.logic.Type(name, parents))
        self._parameters = {
            action: [Placeholder(name.strip("?"), kind) for name, kind in parameters]
            for action, parameters in translation.actions.items()
        }
        self._known: dict[str, dict[Placeholder, Variable]] = {}
        self._variables: dict[tuple[str, str], Variable] = {}
        self.restart()
        facts = [
            Proposition(name, [self._variable(argument, self.name2type[argument]) for argument in arguments])
            for name, arguments in translation.facts
        ]
        self._clear()
        self.add_facts(facts)
        atoms = (pddl_logic.Atom * library.get_state_size())()
        library.get_state(atoms)
        self.add_facts(fact for fact in (atom.get_fact(self.name2type) for atom in atoms) if not fact.is_negation)
        self._initial = self._snapshot()

    def restart(self) -> None:
        """Puts the library at the start of this game."""
        self.downward_lib.load_sas(self.sas)

    def rewind(self) -> None:
        """Back to the initial state."""
        self.restart()
        facts, by_name, by_type, counts = self._initial
        self._facts = defaultdict(set, {signature: set(props) for signature, props in facts.items()})
        self._vars_by_name = dict(by_name)
        self._vars_by_type = defaultdict(set, {kind: set(variables) for kind, variables in by_type.items()})
        self._var_counts = Counter(counts)

    def _clear(self) -> None:
        self._facts = defaultdict(set)
        self._vars_by_name = {}
        self._vars_by_type = defaultdict(set)
        self._var_counts = Counter()

    def _snapshot(self) -> tuple[Any, ...]:
        return (
            {signature: frozenset(props) for signature, props in self._facts.items()},
            dict(self._vars_by_name),
            {kind: frozenset(variables) for kind, variables in self._vars_by_type.items()},
            Counter(self._var_counts),
        )

    def _variable(self, name: str, kind: str) -> Variable:
        return self._variables.setdefault((name, kind), Variable(name, kind))

    def all_applicable_actions(self) -> list[Action]:
        """The actions that apply now, in the planner's order, one per operator name."""
        count = self.downward_lib.get_applicable_operators_count()
        operators = (fast_downward.Operator * count)()
        self.downward_lib.get_applicable_operators(operators)
        self._operators = {operator.id: operator for operator in operators}
        found: dict[str, Action] = {}
        for operator in operators:
            name = operator.name
            if name not in found:
                found[name] = self._action(name, operator.id)
        return list(found.values())

    def _action(self, operator: str, identifier: int) -> Action:
        name, *arguments = operator.split()
        if operator not in self._known:
            # The planner drops trailing parameters that its preconditions determine: fewer arguments than names.
            pairs = zip(self._parameters[name], arguments, strict=False)
            self._known[operator] = {ph: self._variable(argument, ph.type) for ph, argument in pairs}
        action = Action(name=name, preconditions=[], postconditions=[])
        action.id = identifier
        action.mapping = self._known[operator]
        action.command_template = self._logic.actions[name].template
        action.feedback_rule = self._logic.actions[name].feedback_rule
        action.operator = operator
        return action


_idle: list[Any] = []


def _library() -> Any:
    """A planner library that nobody uses: one of those given back, or a fresh private copy.

    Unloading a copy and loading another crashes the process sooner or later (measured: within 40), so copies are
    handed on instead; a process holds as many as it ever had games open at once.
    """
    with PARSER_LOCK:
        return _idle.pop() if _idle else fast_downward.load_lib()


class CachedPddlEnv(PddlEnv):
    """TextWorld's environment: same states, same text; only what is repeated is remembered."""

    def __init__(self) -> None:
        textworld.Environment.__init__(self)
        self.downward_lib = _library()

    def load(self, filename_or_data: Mapping[str, str]) -> None:
        """Loads a game and names its objects as ALFWorld does.

        Args:
            filename_or_data: the content of a game file.
        """
        data = filename_or_data
        translation = translate(data["pddl_domain"], data["pddl_problem"])
        self._game_file, self._game_data = None, data
        self.walkthrough = None
        self._logic = game_logic(data["pddl_domain"], data["grammar"])
        self._pddl_state = CachedState(self.downward_lib, self._logic, translation)
        self._entity_infos = self._get_entity_infos()
        misc = import_alfworld("alfworld.agents.utils.misc")
        names = misc.Demangler(game_infos=self._entity_infos, shuffle=False)
        for info in self._entity_infos.values():
            info.name = names.demangle_alfred_name(info.id)
        self._names = {key: info.name for key, info in self._entity_infos.items()}
        self._commands: dict[str, str] = {}

    def reset(self) -> GameState:
        """Starts the game over."""
        self._pddl_state.rewind()
        self.prev_state = None
        self.state = GameState()
        self._last_action = None
        self._moves = 0
        self.state.feedback = self._logic.grammar.derive("#intro#", self._context({}))
        self.state.raw = self.state.feedback
        self._gather_infos()
        return self.state

    def unload(self) -> None:
        """Gives the planner's library back for the next environment."""
        with PARSER_LOCK:
            _idle.append(self.downward_lib)
        self.downward_lib = None

    def _context(self, mapping: Mapping[Placeholder, Variable]) -> dict[str, Any]:
        return {
            "state": self._pddl_state,
            "facts": (),
            "variables": {ph.name: self._entity_infos[var.name] for ph, var in mapping.items()},
            "mapping": mapping,
            "entity_infos": self._entity_infos,
        }

    def _gather_infos(self) -> None:
        self.state["won"] = self._pddl_state.check_goal()
        self.state["lost"] = False
        self.state["last_action"] = None
        self.state["_last_action"] = self._last_action
        actions = self._pddl_state.all_applicable_actions()
        self.state["_valid_actions"] = actions
        commands = [self._command(action) for action in actions]
        self.state["_valid_commands"] = commands
        self.state["admissible_commands"] = sorted(set(commands))

    def _command(self, action: Action) -> str:
        """The command of an operator. Its template reads only facts that never change (what stands where)."""
        known = self._commands.get(action.operator)
        if known is None:
            template = self._logic.grammar.derive(action.command_template, self._context(action.mapping))
            action.command_template = template
            known = self._commands[action.operator] = action.format_command(self._names)
        return known
