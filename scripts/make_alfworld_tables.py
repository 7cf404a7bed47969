"""Makes the data tables of `agentdistill_alfworld` from the alfworld wheel and the real valid_train problems.

    ALFWORLD_DATA=... python scripts/make_alfworld_tables.py

Writes `scenes.json` (receptacles and object types of the 120 scenes), `statistics.json` (what objects a room has, where
they lie, which goals are asked) and `search_prior.json` (where to look for an object) and `provenance.json` to
`envs/agentdistill_alfworld/tables/`. Only the 200 valid_train problems are read: no valid_seen or valid_unseen game
ever enters a table. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import re
import runpy
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentdistill.errors import DataError, MissingExtraError
from agentdistill.hashing import digest, digest_file

TABLES = Path(__file__).resolve().parent.parent / "envs" / "agentdistill_alfworld" / "tables"
SPLIT = "valid_train"
UNSEEN_SCENES = (10, 219, 308, 424)
KINDS = {"Kitchen": "kitchen", "LivingRoom": "livingroom", "Bedroom": "bedroom", "Bathroom": "bathroom"}
AFFORDANCES = {
    "cleanable": "Cleanable",
    "heatable": "Heatable",
    "coolable": "Coolable",
    "toggleable": "Toggleable",
    "sliceable": "Sliceable",
}
TASKS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
PRIOR_STRENGTH = 1.0
PRIOR_ALLOWED = 0.02
BESIDE_FLOOR_LAMP = ("ArmChair", "CoffeeTable", "Desk", "Dresser", "SideTable", "Sofa")
"""What a generated floor lamp stands at when a goal asks for it; real valid_train problems leave theirs nowhere."""
_FACT = re.compile(r"\((\w+) ([^()]*?)\)")
_MANGLED = (("_minus_", "-"), ("_plus_", "+"), ("_bar_", "|"), ("_dot_", "."), ("_comma_", ","))


@dataclass(frozen=True)
class Problem:
    """One real problem, with ids as AI2-THOR spells them ("Apple|+00.10|+00.90|-01.20")."""

    scene: int
    task: str
    goal_object: str
    goal_receptacle: str
    receptacles: dict[str, str]
    objects: dict[str, str]
    locations: dict[str, str]
    openable: frozenset[str]
    pickupable: frozenset[str]
    cool: frozenset[str]
    lies_in: dict[str, list[str]]


def _plain(name: str) -> str:
    for mangled, character in _MANGLED:
        name = name.replace(mangled, character)
    return name


def read_problem(path: Path) -> Problem:
    """Reads what the tables need from one `game.tw-pddl`."""
    task, goal_object, _, goal_receptacle, scene = path.parent.parent.name.split("-")
    text = json.loads(path.read_text())["pddl_problem"]
    facts: dict[str, list[list[str]]] = defaultdict(list)
    for predicate, arguments in _FACT.findall(text[text.index("(:init") : text.index("(:goal")]):
        facts[predicate].append([_plain(argument) for argument in arguments.split()])
    lies_in: dict[str, list[str]] = defaultdict(list)
    for thing, receptacle in sorted(facts["inReceptacle"]):
        lies_in[thing].append(receptacle)
    return Problem(
        scene=int(scene),
        task=task,
        goal_object=goal_object,
        goal_receptacle=goal_receptacle,
        receptacles={r: t.removesuffix("Type") for r, t in facts["receptacleType"]},
        objects={o: t.removesuffix("Type") for o, t in facts["objectType"]},
        locations={r: location for r, location in facts["receptacleAtLocation"]},
        openable=frozenset(r for (r,) in facts["openable"]),
        pickupable=frozenset(o for (o,) in facts["pickupable"]),
        cool=frozenset(o for (o,) in facts["isCool"]),
        lies_in=dict(lies_in),
    )


@dataclass(frozen=True)
class Wheel:
    """What the alfworld wheel ships about scenes, types and goals."""

    constants: dict[str, Any]
    goals: dict[str, Any]
    layouts: Path
    version: str

    def kind(self, scene: int) -> str:
        """Room kind of a scene number."""
        return next(KINDS[name] for name, numbers in self.constants["SCENE_TYPE"].items() if scene in numbers)

    def types(self, scene: int) -> list[str]:
        """Types of all things in a scene."""
        return sorted(json.loads((self.layouts / f"FloorPlan{scene}-objects.json").read_text()))

    def receptacles(self, scene: int) -> dict[str, tuple[str, str, bool]]:
        """Receptacles with a known agent pose: id -> (type, location, openable)."""
        fixed = self.constants["RECEPTACLES"] - self.constants["MOVABLE_RECEPTACLES_SET"]
        found = {}
        poses = json.loads((self.layouts / f"FloorPlan{scene}-openable.json").read_text())
        for name, (x, z, rotation, horizon) in sorted(poses.items()):
            kind = name.split("|")[0] + ("Basin" if name.endswith("Basin") else "")
            if kind in fixed:
                location = f"loc|{round(x / 0.25)}|{round(z / 0.25)}|{rotation // 90}|{horizon}"
                found[name] = (kind, location, kind in self.constants["OPENABLE_CLASS_SET"])
        return found


def read_wheel() -> Wheel:
    """Reads the installed wheel's files without importing alfworld (its import makes folders)."""
    spec = importlib.util.find_spec("alfworld")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "Making the tables needs the package `alfworld`, which is not installed.",
            "It ships the layouts of the 120 scenes.",
            "Install it with: pip install 'agentdistill[alfworld]'",
        )
    root = Path(next(iter(spec.submodule_search_locations))) / "gen"
    return Wheel(
        constants=runpy.run_path(str(root / "constants.py")),
        goals=runpy.run_path(str(root / "goal_library.py"))["gdict"],
        layouts=root / "layouts",
        version=importlib.metadata.version("alfworld"),
    )


def make_scenes(wheel: Wheel, problems: list[Problem]) -> dict[str, Any]:
    """Receptacles of every scene: as a real problem lists them where there is one, else from the wheel's layout.

    The wheel's layouts leave out receptacles that cannot be opened and have no computed pose. What a derived scene
    lacks is filled in from the observed scenes of its kind: one bin, four burners and so on where the scene has the
    type at all, and as many closed-off cabinets, drawers and shelves as one observed scene had.
    """
    observed = {problem.scene: problem for problem in problems}
    absent: dict[str, list[int]] = defaultdict(list)
    surplus: dict[str, list[Counter[str]]] = defaultdict(list)
    for scene, problem in sorted(observed.items()):
        known = wheel.receptacles(scene)
        had = Counter(kind for kind, _, _ in known.values())
        extra = Counter(kind for name, kind in problem.receptacles.items() if name not in known)
        for kind, count in sorted(extra.items()):
            if not had[kind]:
                absent[kind].append(count)
        surplus[wheel.kind(scene)].append(Counter({k: n for k, n in sorted(extra.items()) if had[k]}))
    scenes = {}
    for scene in sorted(wheel.constants["SCENE_NUMBERS"]):
        kind, types = wheel.kind(scene), wheel.types(scene)
        if scene in observed:
            problem, source = observed[scene], "observed"
            rows = {
                name: (receptacle, problem.locations[name], name in problem.openable)
                for name, receptacle in problem.receptacles.items()
            }
        else:
            source, rows = "derived", wheel.receptacles(scene)
            rng = random.Random(f"scene/{scene}")
            had = Counter(row[0] for row in rows.values())
            wanted = Counter(rng.choice(surplus[kind]))
            for receptacle in sorted(absent):
                if receptacle in types and not had[receptacle]:
                    wanted[receptacle] = sorted(absent[receptacle])[len(absent[receptacle]) // 2]
            for receptacle in sorted(wanted):
                for _ in range(wanted[receptacle] if receptacle in types else 0):
                    row = (receptacle, _free_location(rng, {location for _, location, _ in rows.values()}), False)
                    rows[f"{receptacle}|{_coordinates(rng)}"] = row
        scenes[str(scene)] = {
            "kind": kind,
            "source": source,
            "types": [t for t in types if t in wheel.constants["OBJECTS_SET"] and t not in _fixed(wheel)],
            "receptacles": [[name, *rows[name]] for name in sorted(rows)],
        }
    return scenes


def _fixed(wheel: Wheel) -> set[str]:
    return wheel.constants["RECEPTACLES"] - wheel.constants["MOVABLE_RECEPTACLES_SET"]


def _coordinates(rng: random.Random) -> str:
    values = (rng.uniform(-4, 4), rng.uniform(0, 2), rng.uniform(-4, 4))
    return "|".join(f"{'+' if value >= 0 else '-'}{abs(value):05.2f}" for value in values)


def _free_location(rng: random.Random, taken: set[str]) -> str:
    while True:
        location = f"loc|{rng.randint(-12, 12)}|{rng.randint(-12, 12)}|{rng.randint(0, 3)}|{rng.choice((30, 45, 60))}"
        if location not in taken:
            return location


def make_statistics(wheel: Wheel, problems: list[Problem]) -> dict[str, Any]:
    """Counts, placements and goals of the real problems, by room kind, with AI2-THOR's spelling of the types."""
    counts: dict[str, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    places: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    exposure: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    goals: dict[str, Counter[tuple[str, str, str]]] = {task: Counter() for task in TASKS}
    goal_counts: dict[str, Counter[int]] = {task: Counter() for task in TASKS}
    twice: Counter[tuple[str, str]] = Counter()
    in_fridge = cool_in_fridge = 0
    pickupable: dict[str, Counter[bool]] = defaultdict(Counter)
    for problem in problems:
        kind = wheel.kind(problem.scene)
        have = Counter(problem.objects.values())
        receptacle_counts = Counter(problem.receptacles.values())
        for thing_type in wheel.types(problem.scene):
            if thing_type not in wheel.constants["OBJECTS_SET"] or thing_type in _fixed(wheel):
                continue
            if thing_type == problem.goal_object:
                goal_counts[problem.task][have[thing_type]] += 1
            else:
                counts[kind][thing_type][have[thing_type]] += 1
        for thing, thing_type in problem.objects.items():
            pickupable[thing_type][thing in problem.pickupable] += 1
            lies_in = problem.lies_in.get(thing, [])
            places[kind][thing_type][problem.receptacles[lies_in[0]] if lies_in else ""] += 1
            for receptacle, number in receptacle_counts.items():
                exposure[kind][thing_type][receptacle] += number
            if len(lies_in) > 1:
                twice[problem.receptacles[lies_in[0]], problem.receptacles[lies_in[1]]] += 1
            if any(problem.receptacles[r] == "Fridge" for r in lies_in):
                in_fridge += 1
                cool_in_fridge += thing in problem.cool
        goals[problem.task][kind, problem.goal_object, problem.goal_receptacle] += 1
    first = Counter(problem.receptacles[rs[0]] for problem in problems for rs in problem.lies_in.values())
    actions = wheel.constants["VAL_ACTION_OBJECTS"]
    return {
        "counts": {
            kind: {t: {str(n): c for n, c in sorted(hist.items())} for t, hist in sorted(table.items())}
            for kind, table in sorted(counts.items())
        },
        "placements": {
            kind: {
                t: {r: [n, exposure[kind][t][r] if r else sum(table[t].values())] for r, n in sorted(table[t].items())}
                for t in sorted(table)
            }
            for kind, table in sorted(places.items())
        },
        "second_places": [[a, b, n, first[a]] for (a, b), n in sorted(twice.items()) if n >= 3],
        "cool_in_fridge": [cool_in_fridge, in_fridge],
        "goals": {task: [[*goal, n] for goal, n in sorted(goals[task].items())] for task in TASKS},
        "goal_counts": {task: {str(n): c for n, c in sorted(goal_counts[task].items())} for task in TASKS},
        "beside_floor_lamp": list(BESIDE_FLOOR_LAMP),
        "templates": {task: list(wheel.goals[task]["templates"]) for task in TASKS},
        "goal_pddl": {task: wheel.goals[task]["pddl"].replace("#", "-") for task in TASKS},
        "can_contain": {
            r: sorted(t for t in held if t in wheel.constants["OBJECTS_SET"])
            for r, held in sorted(wheel.constants["VAL_RECEPTACLE_OBJECTS"].items())
            if r in _fixed(wheel)
        },
        "affordances": {
            **{ours: sorted(actions[theirs]) for ours, theirs in AFFORDANCES.items()},
            "pickupable": sorted(t for t, seen in pickupable.items() if seen[True] > seen[False]),
            "holds_things": sorted(wheel.constants["MOVABLE_RECEPTACLES_SET"]),
        },
        "object_types": sorted(wheel.constants["OBJECTS_SET"] - _fixed(wheel)),
        "receptacle_types": sorted(_fixed(wheel)),
    }


def make_prior(wheel: Wheel, problems: list[Problem]) -> dict[str, dict[str, float]]:
    """P(one receptacle of type r holds an object of type o | the room has one), lower-case, smoothed.

    Pairs the rules allow but that were not seen get a small chance, so that a search never ends early.
    """
    holds: dict[str, Counter[str]] = defaultdict(Counter)
    chances: dict[str, Counter[str]] = defaultdict(Counter)
    for problem in problems:
        receptacle_counts = Counter(problem.receptacles.values())
        for thing_type in sorted(set(problem.objects.values())):
            for receptacle, number in receptacle_counts.items():
                chances[thing_type][receptacle] += number
        pairs = {(problem.objects[o], r) for o, rs in problem.lies_in.items() for r in rs}
        for thing_type, receptacle in pairs:
            holds[thing_type][problem.receptacles[receptacle]] += 1
    allowed = wheel.constants["VAL_RECEPTACLE_OBJECTS"]
    prior = {}
    for thing_type in sorted(wheel.constants["OBJECTS_SET"] - _fixed(wheel)):
        row = {}
        for receptacle in sorted(_fixed(wheel)):
            likely = thing_type in allowed.get(receptacle, ())
            likely = likely or (thing_type == "FloorLamp" and receptacle in BESIDE_FLOOR_LAMP)
            base = PRIOR_ALLOWED if likely else 0.0
            seen, chance = holds[thing_type][receptacle], chances[thing_type][receptacle]
            if seen or base:
                row[receptacle.lower()] = round((seen + PRIOR_STRENGTH * base) / (chance + PRIOR_STRENGTH), 6)
        if row:
            prior[thing_type.lower()] = row
    return prior


def main(argv: list[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=os.environ.get("ALFWORLD_DATA"), help="default: $ALFWORLD_DATA")
    parser.add_argument("--out", type=Path, default=TABLES)
    arguments = parser.parse_args(argv)
    paths = sorted((arguments.data / "json_2.1.1" / SPLIT).glob("*/*/game.tw-pddl")) if arguments.data else []
    if not paths:
        raise DataError(
            "The tables cannot be made: no real problem was found.",
            f"They are learned from the split {SPLIT} under $ALFWORLD_DATA/json_2.1.1.",
            "Set ALFWORLD_DATA or pass --data.",
        )
    wheel, problems = read_wheel(), [read_problem(path) for path in paths]
    if leaked := sorted({p.scene for p in problems} & set(UNSEEN_SCENES)):
        raise DataError(f"The unseen scenes {leaked} appear in {SPLIT}: they must not be learned from.")
    provenance = {
        "alfworld": wheel.version,
        "layouts_sha256": digest({p.name: digest_file(p) for p in sorted(wheel.layouts.glob("*.json"))}),
        "problems_split": SPLIT,
        "problems": len(problems),
        "problems_sha256": digest({str(p.relative_to(arguments.data)): digest_file(p) for p in paths}),
        "mean_receptacles": sum(len(p.receptacles) for p in problems) / len(problems),
        "mean_objects": sum(len(p.objects) for p in problems) / len(problems),
        "licence": "MIT, see NOTICE.md",
    }
    tables = {
        "scenes.json": {"unseen": list(UNSEEN_SCENES), "scenes": make_scenes(wheel, problems)},
        "statistics.json": make_statistics(wheel, problems),
        "search_prior.json": make_prior(wheel, problems),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    tables["provenance.json"] = {"format": 1, **provenance, "tables": {n: digest(t) for n, t in tables.items()}}
    for name, body in tables.items():
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        (arguments.out / name).write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {len(text) / 1024:.0f} kB")


if __name__ == "__main__":
    main()
