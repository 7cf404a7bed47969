"""The shop's web page, in a real browser and by hand-made requests."""

from __future__ import annotations

import http.client
import threading
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from headless_browser import Browser

from agentdistill_webshop.expert import Expert
from agentdistill_webshop.shop import Visit
from agentdistill_webshop.web import LONGEST, ShopServer
from agentdistill_webshop.web import shop as shop_command


@pytest.fixture(scope="module")
def server(shop):
    with ShopServer(shop, "test") as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def fetch(server, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_person_shops_in_a_browser_and_sees_the_reward(server, shop, tmp_path):
    """Types a search, opens the product, chooses the options and buys, with the mouse and the keyboard of a page."""
    task = shop.tasks("test")[0]
    visit = Visit(shop.catalogue, shop.goal(task), shop.tagger[1])
    expert = Expert(shop.catalogue, visit.goal)
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(server.address)
        assert browser.read("document.querySelectorAll('#goals li').length") == 40
        browser.do("document.querySelector('#goals a').click()")
        assert browser.read("document.querySelector('#instruction').innerText") == visit.goal.instruction
        while (action := expert.action(visit)) is not None:
            assert browser.read("document.querySelector('#advice').textContent") == action
            if action.startswith("search["):
                words = action[7:-1].replace("'", "\\'")
                browser.do(
                    f"document.querySelector('#search').value = '{words}'; document.querySelector('#go').click()"
                )
            else:
                shown = "[...document.querySelectorAll('a')].map(a => a.textContent)"
                (name,) = [text for text in browser.read(shown) if text.lower() == action[6:-1]]
                browser.click(name)
            visit.act(action)
        assert browser.read("document.querySelector('#reward').innerText") == "1.0"
        assert visit.score.reward == 1.0
        assert browser.read("document.body.innerText").startswith(visit.goal.instruction)
        assert browser.read("performance.getEntriesByType('resource').length") == 0  # nothing is loaded from anywhere
    finally:
        browser.close()


def test_what_is_typed_is_shown_as_text_and_never_runs(server, shop):
    key = shop.tasks("test")[0].key
    evil = "<script>alert(1)</script>'\"><img src=x>"
    status, text = fetch(server, f"/?{urlencode([('goal', key), ('search', evil), ('do', f'click[{evil}]')])}")
    assert status == 200 and "<script" not in text and "<img" not in text


def test_bad_addresses_are_answered(server, shop):
    key = shop.tasks("test")[0].key
    assert fetch(server, "/?goal=human-99999")[0] == 400
    assert f"Did you mean `{key}`" in fetch(server, f"/?goal={key}x")[1]
    assert fetch(server, "/elsewhere")[0] == 404
    assert fetch(server, "/", host="evil.example:80")[0] == 403
    assert fetch(server, f"/?{urlencode([('goal', key), *[('do', 'x')] * (LONGEST + 1)])}")[0] == 400
    assert fetch(server, f"/?{urlencode([('goal', key), ('do', 'click[buy now]'), ('search', '☕')])}")[0] == 200


def test_the_command_explains_itself():
    result = CliRunner().invoke(shop_command, ["--help"])
    assert result.exit_code == 0 and "local web page" in result.output
