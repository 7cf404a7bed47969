"""Measures WebShop: steps a second in the shop, and what a large catalogue costs in time, memory and disk.

    python scripts/bench_webshop.py [--quick] [--products 100000]

Steps are played by the expert with random clicks in between, on a generated catalogue of 1,000 products. The large
catalogue goes through original files: they are written first, then read in a stream, indexed, and searched with the
words of human instructions, each once. Every part runs in a process of its own; memory is its largest resident set.
Seconds are wall time unless they say otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

STEPS = 20_000
SEARCHES = 3_000
FULL = 1_181_436
"""Products of the authors' whole catalogue."""


def peak() -> float:
    """Largest resident set of this process so far, in MB, with all libraries imported."""
    import bm25s  # noqa: F401
    import Stemmer  # noqa: F401
    import thefuzz.fuzz  # noqa: F401

    import agentdistill_webshop.env  # noqa: F401

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def steps(count: int) -> dict[str, float]:
    """Plays, and measures steps a second of wall and of process time."""
    from agentdistill_webshop.source import WebshopSource

    source = WebshopSource()
    started = time.perf_counter()
    tasks = source.tasks("train")
    built = time.perf_counter() - started
    env, rng = source.make(), random.Random(0)
    env.reset(options={"task": tasks[0]})
    wall, processor = time.perf_counter(), time.process_time()
    done = episodes = won = 0
    while done < count:
        _, info = env.reset(options={"task": tasks[rng.randrange(len(tasks))], "expert": True})
        episodes += 1
        over = False
        while not over:
            action = info["expert_action"] if rng.random() < 0.7 else rng.choice(info["admissible_actions"])
            _, _, over, _, info = env.step(action)
            done += 1
        won += info["won"]
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "build_seconds": built,
        "steps_per_second": done / wall,
        "steps_per_processor_second": done / processor,
        "episodes": episodes,
        "won": won,
        "peak_mb": peak(),
    }


def write(folder: Path, products: int) -> dict[str, float]:
    """Writes a generated catalogue as original files."""
    from agentdistill_webshop.generate import GeneratedRows

    rows = GeneratedRows(products, 0)
    with (
        (folder / "items_shuffle.json").open("w") as items,
        (folder / "items_ins_v2.json").open("w") as attributes,
        (folder / "items_human_ins.json").open("w") as human,
    ):
        for stream, values in ((items, rows.items()), (attributes, rows.attributes()), (human, rows.human())):
            stream.write("[" if stream is items else "{")
            for number, value in enumerate(values):
                text = json.dumps(value) if stream is items else f"{json.dumps(value[0])}:{json.dumps(value[1])}"
                stream.write(f",\n{text}" if number else text)
            stream.write("]" if stream is items else "}")
    return {"mb": sum(path.stat().st_size for path in folder.iterdir()) / 2**20}


def index(folder: Path) -> dict[str, float]:
    """Reads and indexes original files."""
    from agentdistill.cache import cache_directory
    from agentdistill_webshop.catalogue import open_catalogue
    from agentdistill_webshop.config import WebshopConfig

    base = peak()
    wall, processor = time.perf_counter(), time.process_time()
    catalogue = open_catalogue(WebshopConfig(data=str(folder)))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    disk = sum(path.stat().st_size for path in cache_directory().rglob("*") if path.is_file())
    return {
        "products": len(catalogue),
        "seconds": wall,
        "processor_seconds": processor,
        "base_mb": base,
        "peak_mb": peak(),
        "disk_mb": disk / 2**20,
    }


def search(folder: Path, count: int) -> dict[str, float]:
    """Searches an indexed catalogue."""
    from agentdistill_webshop.config import WebshopConfig
    from agentdistill_webshop.source import WebshopSource

    base = peak()
    source = WebshopSource(WebshopConfig(data=str(folder)))
    started = time.perf_counter()
    engine = source.catalogue.engine
    opened = time.perf_counter() - started
    numbers = random.Random(0).sample(range(len(source.book)), count + 50)
    queries = [source.book.goal(number).instruction.rpartition(", and price")[0] for number in numbers]
    for query in queries[:50]:
        engine.search(query)
    wall, processor = time.perf_counter(), time.process_time()
    found = [len(engine.search(query)) for query in queries[50:]]
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "open_seconds": opened,
        "searches_per_second": count / wall,
        "searches_per_processor_second": count / processor,
        "words_per_query": sum(len(query.split()) for query in queries) / len(queries),
        "found": sum(found) / count,
        "base_mb": base,
        "peak_mb": peak(),
    }


def apart(part: str, *arguments: object, cache: Path) -> dict[str, float]:
    """Runs a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, *map(str, arguments)]
    environment = {**os.environ, "AGENTDISTILL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(results: dict[str, Any], console: Console) -> None:
    """Prints what was measured, with the projection to the whole catalogue."""
    table = Table(box=None, header_style="bold")
    for name in ("part", "what", "value"):
        table.add_column(name, justify="right" if name == "value" else "left")
    for part, values in results.items():
        for name, value in values.items():
            table.add_row(part, name.replace("_", " "), f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    console.print(table)
    products = results["index"]["products"]
    for part in ("index", "search"):
        each = (results[part]["peak_mb"] - results[part]["base_mb"]) / products
        whole = results[part]["base_mb"] + each * FULL
        console.print(f"{part}: {each * 1024:.2f} KB a product; {FULL:,} products would need {whole / 1024:.2f} GB")


def main() -> None:
    """Runs all parts, or one of them when told so by itself."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        name, *given = chosen.part
        parts = {
            "steps": lambda: steps(int(given[0])),
            "write": lambda: write(Path(given[0]), int(given[1])),
            "index": lambda: index(Path(given[0])),
            "search": lambda: search(Path(given[0]), int(given[1])),
        }
        print(json.dumps(parts[name]()))
        return
    share = 10 if chosen.quick else 1
    with tempfile.TemporaryDirectory() as temporary:
        cache, files = Path(temporary) / "cache", Path(temporary) / "files"
        files.mkdir()
        results: dict[str, Any] = {"steps": apart("steps", STEPS // share, cache=Path(temporary) / "small")}
        results["write"] = apart("write", files, chosen.products // share, cache=cache)
        results["index"] = apart("index", files, cache=cache)
        results["search"] = apart("search", files, SEARCHES // share, cache=cache)
    console = Console()
    show(results, console)
    console.print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
