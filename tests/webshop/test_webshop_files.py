"""Original files: read in a stream, malformed rows named, indexed once."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_webshop import write_files

from agentdistill.cache import cache_directory
from agentdistill.errors import DataError
from agentdistill_webshop import stream as stream_module
from agentdistill_webshop.build import FORMAT
from agentdistill_webshop.catalogue import open_catalogue
from agentdistill_webshop.config import WebshopConfig
from agentdistill_webshop.generate import GeneratedRows
from agentdistill_webshop.product import MalformedRow, Product, parse_pricing
from agentdistill_webshop.stream import stream_array, stream_object

ROWS = GeneratedRows(6, 3)
ITEMS, ATTRIBUTES, HUMAN = list(ROWS.items()), dict(ROWS.attributes()), dict(ROWS.human())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def opened(folder, **options):
    return open_catalogue(WebshopConfig(data=str(folder), **options))


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(1, 40), st.sampled_from([None, 2]))
def test_a_stream_has_what_json_has(tmp_path_factory, values, chunk, indent):
    path = tmp_path_factory.mktemp("json") / "x.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "_CHUNK", chunk)
        path.write_text(json.dumps(values, indent=indent))
        assert list(stream_array(path)) == values
        named = {str(number): value for number, value in enumerate(values)}
        path.write_text(json.dumps(named, indent=indent, ensure_ascii=True))
        assert dict(stream_object(path)) == named


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the end of the file"),
        ("{}", "'\\['"),
        ('[{"a": 1}', "expected"),
        ('[{"a": 1} {"b": 2}]', "expected"),
        ('[{"a": tru}, ' + '{"b": 2},' * 9 + "1]", "Expecting value"),
        ('[{"a": "never closed', "Unterminated string"),
        ("[1] 2", "after the end"),
        ("[" * 100_000, "nested"),
        ('["\xff"]', "UTF-8"),
    ],
)
def test_broken_json_is_named_with_its_place(tmp_path, text, said):
    path = tmp_path / "items.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said) as caught:
        list(stream_array(path))
    assert "items.json" in str(caught.value) and "character" in str(caught.value)


def test_rows_are_left_out_by_the_authors_rules(tmp_path):
    items = copy.deepcopy(ITEMS)
    items[1]["asin"], items[2]["asin"] = "nan", "B0123456789"
    items.append(copy.deepcopy(ITEMS[0]))
    catalogue = opened(write_files(tmp_path / "files", items, ATTRIBUTES, HUMAN))
    assert len(catalogue) == 4
    assert (catalogue.about["rows"], catalogue.about["left_out"], catalogue.about["duplicates"]) == (7, 2, 1)
    assert catalogue.place(items[3]["asin"]) == 1
    with pytest.raises(KeyError):
        catalogue.place("B0123456789")
    assert len(opened(tmp_path / "files", products=3)) == 1


BREAKS = {
    "no name": lambda row: row.pop("name"),
    "name is a number": lambda row: row.update(name=7),
    "no price in it": lambda row: row.update(pricing="cheap"),
    "pricing is a list": lambda row: row.update(pricing=[1]),
    "options are a list": lambda row: row.update(customization_options=[1]),
    "an option without value": lambda row: row.update(customization_options={"color": [{"image": None}]}),
    "bullets are numbers": lambda row: row.update(small_description=[1]),
    "half a character": lambda row: row.update(name="x\ud800"),
    "asin is empty": lambda row: row.update(asin=""),
    "asin is no text": lambda row: row.update(asin=3),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_malformed_row_is_refused_or_skipped_and_counted(tmp_path, name):
    items = copy.deepcopy(ITEMS)
    BREAKS[name](items[2])
    folder = write_files(tmp_path / "files", [*items, "no row"], ATTRIBUTES, HUMAN)
    with pytest.raises(DataError, match=r"2 malformed rows.*row 2.*row 6.*it is a str") as caught:
        opened(folder)
    assert 'env.malformed = "skip"' in str(caught.value)
    with pytest.warns(UserWarning, match="2 malformed rows"):
        catalogue = opened(folder, malformed="skip")
    assert len(catalogue) == 5 and catalogue.about["malformed"]["count"] == 2


def test_malformed_attributes_and_instructions_are_counted_too(tmp_path):
    asins = [item["asin"] for item in ITEMS]
    attributes = {**ATTRIBUTES, asins[0]: ["not an object"]}
    human = {**HUMAN, asins[1]: "x", asins[2]: [{"instruction": "x"}, 3]}
    folder = write_files(tmp_path / "files", ITEMS, attributes, human)
    with pytest.raises(DataError, match="4 malformed rows"):
        opened(folder)


def test_missing_and_mixed_files_are_explained(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        opened(tmp_path / "nowhere")
    folder = write_files(tmp_path / "files", ITEMS, ATTRIBUTES, HUMAN)
    (folder / "items_shuffle.json").rename(folder / "items_shuffle_1000.json")
    with pytest.raises(DataError, match="two catalogues"):
        opened(folder)
    (folder / "items_ins_v2.json").rename(folder / "items_ins_v2_1000.json")
    assert len(opened(folder)) == 6
    (folder / "items_shuffle.json").write_text("[]")
    with pytest.raises(DataError, match="several"):
        opened(folder)
    (folder / "items_shuffle_1000.json").unlink()
    (folder / "items_ins_v2_1000.json").rename(folder / "items_ins_v2.json")
    with pytest.raises(DataError, match="no products"):
        opened(folder)
    (folder / "items_human_ins.json").unlink()
    with pytest.raises(DataError, match="no file items_human_ins"):
        opened(folder)


def test_a_catalogue_is_built_once_and_anew_when_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTDISTILL_CACHE", str(tmp_path / "cache"))
    folder = write_files(tmp_path / "files", ITEMS, ATTRIBUTES, HUMAN)
    first = opened(folder)
    (built,) = (cache_directory() / "webshop").iterdir()
    assert built.name.startswith(FORMAT)
    stamp = (built / "about.json").stat().st_mtime_ns
    opened(folder)
    assert (built / "about.json").stat().st_mtime_ns == stamp
    write_files(folder, ITEMS[:5], ATTRIBUTES, HUMAN)
    second = opened(folder)
    assert (len(first), len(second)) == (6, 5)
    hashes = [catalogue.about["rows_from"]["sha256"]["items_shuffle.json"] for catalogue in (first, second)]
    assert hashes[0] != hashes[1]
    assert not [path for path in (cache_directory() / "webshop").iterdir() if path.name.startswith(".")]


def test_files_and_generator_go_the_same_way(tmp_path):
    """A generated catalogue, written as original files, is the same shop."""
    folder = write_files(tmp_path / "files", ITEMS, ATTRIBUTES, HUMAN)
    from agentdistill_webshop.config import GeneratedConfig

    one = opened(folder)
    other = open_catalogue(WebshopConfig(generated=GeneratedConfig(products=6, seed=3)))
    assert [one.product(place) for place in range(6)] == [other.product(place) for place in range(6)]
    assert one.engine.search("pack of 2") == other.engine.search("pack of 2")
    assert [one.human(n) for n in range(24)] == [other.human(n) for n in range(24)]
    assert [one.price(place) for place in range(6)] == [other.price(place) for place in range(6)]


@pytest.mark.parametrize(
    ("pricing", "tag", "prices"),
    [
        ("$877.80", "$877.8", (877.8,)),
        ("$1,099.00", "$1099.0", (1099.0,)),
        ("$9.99$29.99", "$9.99 to $29.99", (9.99, 29.99)),
        ("$1$2$3", "$1.0 to $2.0", (1.0, 2.0)),
        ("", "$100.0", (100.0,)),
        (None, "$100.0", (100.0,)),
    ],
)
def test_prices_are_read_as_the_authors_read_them(pricing, tag, prices):
    assert parse_pricing(pricing) == (tag, prices)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_pricing_is_read_or_refused(text):
    try:
        _, prices = parse_pricing(text)
    except MalformedRow:
        return
    assert 1 <= len(prices) <= 2


def test_a_product_survives_being_stored():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        product = Product(
            "A", "ti\u2028tle\n", "☕", ("",), "$1.0", (1.0,), {"size/é": ("a | b",)}, ("x",), "c", "q", "p"
        )
    assert Product.from_bytes(product.to_bytes()) == product
