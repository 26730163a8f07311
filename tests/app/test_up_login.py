"""The doors of the running hub: the login form and its XSRF token, tokens at the service, who the browser is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from octopus_hub.app.walk import Walk
from octopus_hub.model.errors import Refused
from tests.product import Product, until

pytestmark = [pytest.mark.hub, pytest.mark.xdist_group("product")]
TASKSETS = "/services/octopus/api/v1/tasksets"


@pytest.fixture
async def browser(product: Product) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as client:
        yield client


async def test_a_wrong_password_is_refused(product: Product) -> None:
    visitor = Walk(product.url, product.user)
    with pytest.raises(Refused, match="did not let"):
        await visitor.log_in("wrong" + product.password)
    await visitor.close()


async def test_another_name_with_the_right_password_is_refused(product: Product) -> None:
    visitor = Walk(product.url, "eve")
    with pytest.raises(Refused, match="did not let eve in"):
        await visitor.log_in(product.password)
    await visitor.close()


@pytest.mark.parametrize("xsrf", ["", "forged", None])
async def test_the_form_needs_its_xsrf_token(product: Product, browser: httpx.AsyncClient, xsrf: str | None) -> None:
    page = await browser.get("/hub/login")
    assert re.search(r'name="_xsrf" value="[^"]+"', page.text)
    form = {"username": product.user, "password": product.password}
    answer = await browser.post("/hub/login", data=form if xsrf is None else {**form, "_xsrf": xsrf})
    assert answer.status_code == 403
    assert (await browser.get("/hub/api/user")).status_code == 403


async def test_nobody_gets_in_without_logging_in(product: Product, browser: httpx.AsyncClient) -> None:
    assert (await browser.get(TASKSETS)).status_code == 401
    assert (await browser.get("/hub/api/users")).status_code == 403
    answer = await browser.get(f"/user/{product.user}/api/kernels")
    assert answer.status_code in (302, 403, 424, 503)


async def token(visitor: Walk, user: str, **more: object) -> dict[str, str]:
    scopes = ["access:services!service=octopus", "custom:octopus:tasksets:read"]
    answer = await visitor.ask_hub("POST", f"users/{user}/tokens", json={"note": "test", "scopes": scopes, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


async def status_with(browser: httpx.AsyncClient, value: str) -> int:
    """Return what the service answers to a token, once the hub can be asked about it (503: try again)."""
    for _ in range(5):
        answer = await browser.get(TASKSETS, headers={"Authorization": f"Bearer {value}"})
        if answer.status_code != 503:
            break
    return answer.status_code


async def test_a_token_of_the_hub_opens_the_service_and_only_what_it_may(
    product: Product, browser: httpx.AsyncClient
) -> None:
    async with product.visitor(spawn=False) as visitor:
        made = await token(visitor, product.user)
    headers = {"Authorization": f"token {made['token']}"}
    assert await status_with(browser, made["token"]) == 200
    assert (await browser.get(f"{TASKSETS}/-/none", headers=headers)).status_code == 404
    for method, path in (
        ("POST", TASKSETS),
        ("PUT", "/services/octopus/api/v1/secrets/x"),
        ("DELETE", f"{TASKSETS}/-/x"),
    ):
        answer = await browser.request(
            method, path, headers=headers, json={"value": "x"} if method != "DELETE" else None
        )
        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_forged_token_is_refused(product: Product, browser: httpx.AsyncClient) -> None:
    async with product.visitor(spawn=False) as visitor:
        made = (await token(visitor, product.user))["token"]
    for forged in (made[:-1] + ("a" if made[-1] != "a" else "b"), made.swapcase(), "0" * 32, product.password):
        assert await status_with(browser, forged) == 401


async def test_an_expired_token_is_refused(product: Product, browser: httpx.AsyncClient) -> None:
    async with product.visitor(spawn=False) as visitor:
        made = await token(visitor, product.user, expires_in=1)
        with httpx.Client(base_url=product.url, trust_env=False) as hub:
            headers = {"Authorization": f"token {made['token']}"}
            until(lambda: hub.get("/hub/api/user", headers=headers).status_code == 403, "the hub forgets the token")
    assert await status_with(browser, made["token"]) == 401


async def test_a_revoked_token_is_refused_within_a_minute(product: Product, browser: httpx.AsyncClient) -> None:
    async with product.visitor(spawn=False) as visitor:
        made = await token(visitor, product.user)
        answer = await visitor.ask_hub("DELETE", f"users/{product.user}/tokens/{made['id']}")
        assert answer.status_code == 204
    # never used before: nothing to forget, so it is refused at once; the cache's age is tested beside the service
    assert await status_with(browser, made["token"]) == 401


async def test_a_token_without_access_to_the_service_is_forbidden(product: Product, browser: httpx.AsyncClient) -> None:
    async with product.visitor(spawn=False) as visitor:
        made = await token(visitor, product.user, scopes=["read:users:name!user"])
    assert await status_with(browser, made["token"]) == 403
