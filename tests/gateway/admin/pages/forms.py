"""A browser without a screen: opens a form, fills it in, sends it with everything that it holds."""

import re
from html import unescape

import httpx

from tests.gateway.admin.house import House

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


def held_by(page: httpx.Response) -> dict[str, str]:
    """The form's own token among them; the last form of the page, after the one that signs out."""
    form = page.text.rpartition("<form")[2]
    return {name: unescape(value) for name, value in _HIDDEN.findall(form)}


async def send(house: House, path: str, **typed: str) -> httpx.Response:
    """As a person does: the page first, then its form, to where the form says."""
    page = await house.browser.get(path)
    assert page.status_code == 200, page.text
    action = re.findall(r'<form class="sheet form" method="post" action="([^"]+)"', page.text)[-1]
    return await house.browser.post(unescape(action), data={**held_by(page), **typed})


async def follow(house: House, answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    page = await house.browser.get(answer.headers["location"])
    assert page.status_code == 200, page.text
    return page.text


async def sent(house: House, path: str, **typed: str) -> str:
    """The page that a form leads to."""
    return await follow(house, await send(house, path, **typed))
