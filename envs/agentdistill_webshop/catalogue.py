"""A built catalogue, opened memory-mapped and found again in the cache."""

from __future__ import annotations

import json
import random
import threading
import warnings
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentdistill.atomic import atomic_directory
from agentdistill.cache import cache_directory
from agentdistill.errors import DataError
from agentdistill_webshop.build import FORMAT, Rows, build
from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.files import OriginalFiles
from agentdistill_webshop.generate import GeneratedRows
from agentdistill_webshop.product import Product
from agentdistill_webshop.search import SearchEngine
from agentdistill_webshop.spool import Lines

_REMEMBERED = 4096
_building = threading.Lock()


class Catalogue:
    """Products by number and by asin. Nothing but what was asked for recently is in memory.

    Args:
        folder: where `build` wrote it.
        seed: seed of the prices of products that have a range.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._folder, self._seed = folder, seed
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self._lines = Lines(folder / "products.bin")
        self._asins = np.load(folder / "asins.npy", mmap_mode="r")
        self._places = np.load(folder / "asin_places.npy", mmap_mode="r")
        self._category = np.load(folder / "category.npy", mmap_mode="r")
        self._products: OrderedDict[int, Product] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def engine(self) -> SearchEngine:
        """The search engine."""
        return SearchEngine(self._folder / "index")

    def product(self, place: int) -> Product:
        """The product with a number, in catalogue order from 0."""
        found = self._products.get(place)
        if found is None:
            found = self._products[place] = Product.from_bytes(self._lines[place])
            if len(self._products) > _REMEMBERED:
                self._products.popitem(last=False)
        return found

    def place(self, asin: str) -> int:
        """The number of a product.

        Raises:
            KeyError: there is no such product.
        """
        name = asin.encode("utf-8", "replace")
        at = int(np.searchsorted(self._asins, name))
        if at == len(self._asins) or self._asins[at] != name:
            raise KeyError(asin)
        return int(self._places[at])

    def category(self, place: int) -> str:
        """A product's department, without reading the product."""
        name: str = self.about["categories"][self._category[place]]
        return name

    def price(self, place: int) -> float:
        """What a product costs, in dollars; drawn from its range if it has one, always the same for a seed."""
        product = self.product(place)
        if len(product.pricing) == 1:
            return product.pricing[0]
        low, high = product.pricing
        return random.Random(f"webshop/price/{self._seed}/{product.asin}").uniform(low, high)

    @cached_property
    def asked_for(self) -> npt.NDArray[np.int32]:
        """Number of the product of each human instruction, int32 [instructions]."""
        places: npt.NDArray[np.int32] = np.load(self._folder / "asked_for.npy", mmap_mode="r")
        return places

    @cached_property
    def _human(self) -> Lines:
        return Lines(self._folder / "human.bin")

    def human(self, number: int) -> tuple[str, list[str], list[str] | dict[str, str]]:
        """A human instruction in catalogue order: its text, the attributes and the options it asks for."""
        instruction, attributes, options = json.loads(self._human[number])
        return instruction, attributes, options

    def synthetic(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Numbers of the products with a synthetic instruction, and of their combinations of options."""
        folder = self._folder
        return np.load(folder / "synthetic.npy", mmap_mode="r"), np.load(folder / "combinations.npy", mmap_mode="r")


def open_catalogue(config: WebshopConfig) -> Catalogue:
    """Finds the catalogue that a configuration names in the cache, or builds it there.

    Raises:
        DataError: its files are missing, damaged or malformed.
    """
    rows: Rows
    if config.data is None:
        rows = GeneratedRows(config.generated.products, config.generated.seed)
    else:
        rows = OriginalFiles(Path(config.data).expanduser(), config.products)
    skip = config.malformed == "skip"
    folder = cache_directory() / "webshop" / f"{FORMAT}-{rows.identity()}{'-skip' if skip else ''}"
    with _building:
        if not (folder / "about.json").is_file():
            _build(rows, folder, skip)
    catalogue = Catalogue(folder, config.seed)
    malformed = catalogue.about["malformed"]
    if malformed["count"]:
        warnings.warn(
            f"{malformed['count']} malformed rows of the catalogue are left out: {'; '.join(malformed['first'])}.",
            stacklevel=2,
        )
    return catalogue


def _build(rows: Rows, folder: Path, skip: bool) -> None:
    """Another process may build the same catalogue at the same time: whoever is second uses the first one's."""
    try:
        with atomic_directory(folder) as made:
            build(rows, made, skip_malformed=skip)
    except (OSError, DataError):
        if not (folder / "about.json").is_file():
            raise
