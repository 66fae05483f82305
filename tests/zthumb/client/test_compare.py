"""Compare, in a browser against a real server: a grid that survives a reload and a kill, wiping, and a blind vote."""

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.zthumb.client.conftest import Server

pytestmark = pytest.mark.slow

CELLS = 4
"""The base and one adapter at one scale, for two seeds."""


def _open(page: Page, server: Server, prompt: str, steps: int = 3) -> None:
    page.goto(f'{server.address}/compare?prompt={prompt}&adapters=["strong"]&scales=[0.8]&seeds=["1","2"]&steps={steps}')
    page.get_by_role("row", name=re.compile("^seed base strong at 0.8")).wait_for()


def _images(page: Page) -> int:
    return page.get_by_role("button", name=re.compile("^Choose ")).count()


def _wait(page: Page) -> None:
    expect(page.get_by_role("button", name=re.compile("^Choose "))).to_have_count(CELLS, timeout=90_000)


def test_a_grid_is_generated_wiped_and_voted_on(page: Page, server: Server) -> None:
    _open(page, server, "a red star")
    page.get_by_role("button", name="Generate", exact=True).click()
    _wait(page)
    # Only what differs is generated: four images, and none again when the page is opened once more.
    before = len(requests.get(f"{server.address}/jobs", timeout=10).json()["jobs"])
    _open(page, server, "a red star")
    _wait(page)
    assert len(requests.get(f"{server.address}/jobs", timeout=10).json()["jobs"]) == before
    # When two are chosen, they are wiped between
    page.get_by_role("button", name="Choose base, seed 1").click()
    page.get_by_role("button", name="Choose strong at 0.8, seed 1").click()
    page.get_by_role("slider", name="Line").press("Home")
    expect(page.get_by_role("region", name="base, seed 1 and strong at 0.8, seed 1")).to_contain_text("0 %")
    # When it is voted blind, nothing is told before the end
    page.get_by_role("button", name="Blind vote").click()
    vote = page.get_by_role("region", name="Blind vote")
    expect(vote).not_to_contain_text("strong")
    for _ in range(2):
        page.get_by_role("button", name="The left one").click()
    result = page.get_by_role("region", name="Result of the vote")
    expect(result).to_contain_text("strong at 0.8")
    expect(result.get_by_role("row")).to_have_count(3)


def test_a_comparison_goes_on_after_the_server_was_killed(page: Page, server: Server) -> None:
    _open(page, server, "a blue ring", steps=40)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("^Choose "))).not_to_have_count(0, timeout=90_000)
    assert _images(page) < CELLS
    server.kill()
    server.start()
    page.reload()
    _wait(page)
