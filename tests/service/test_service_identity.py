"""Who calls: hub tokens (forged, expired, revoked, of strangers and services), the local token, browsers' cookies."""

from __future__ import annotations

import re

import httpx
import pytest

from octopus_hub.hub.scopes import USER
from octopus_hub.model.errors import Unauthenticated
from octopus_hub.service.identity import CACHE_SECONDS, LocalToken
from octopus_hub.service.settings import ServiceSettings
from tests.service.hubapi import model
from tests.service.running import LOCAL, Running, document, events, running


@pytest.mark.parametrize("token", ["forged", "alice-toke", LOCAL[:-1], LOCAL + "x", "x" * 5000, "Ünïcode"])
async def test_a_forged_token_is_unauthenticated(service: Running, token: str) -> None:
    raw = f"Bearer {token}".encode()
    client = service.client("")
    answer = await client.get("whoami", headers={b"Authorization": raw})  # type: ignore[dict-item]
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("header", ["Basic YWxpY2U6eA==", "alice-token", "Bearer", "Bearer a b", ""])
async def test_other_headers_are_no_token(service: Running, header: str) -> None:
    assert (await service.client("").get("whoami", headers={"Authorization": header})).status_code == 401


async def test_both_words_for_a_token_are_understood(service: Running) -> None:
    for word in ("token", "Bearer", "bearer"):
        answer = await service.client("").get("whoami", headers={"Authorization": f"{word} alice-token"})
        assert answer.json() == {
            "user": "alice",
            "namespace": "alice",
            "groups": ["lab"],
            "scopes": sorted(scope for scope in USER if scope.startswith("custom:")),
            "admin": False,
        }


async def test_a_revoked_token_stops_when_the_short_cache_has_expired(service: Running) -> None:
    assert CACHE_SECONDS + ServiceSettings().recheck_seconds < 60
    assert service.oauth.cache_max_age == CACHE_SECONDS
    client = service.client("alice-token")
    assert (await client.get("whoami")).status_code == 200
    assert (await client.get("whoami")).status_code == 200
    assert service.hub.asked == 1
    del service.hub.tokens["alice-token"]
    service.oauth.cache.clear()  # what time does
    assert (await client.get("whoami")).status_code == 401


async def test_a_stream_ends_when_its_token_is_revoked() -> None:
    async with running(ServiceSettings(recheck_seconds=0.05, keep_alive_seconds=0.02)) as service:
        client = service.client("alice-token")
        async with client.stream("GET", "stream") as response:
            frames = events(response)
            assert (await anext(frames))[0] == "snapshot"
            del service.hub.tokens["alice-token"]
            service.oauth.cache.clear()
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in frames:
                    pass
        await service.until(lambda: len(service.app.settings["service"].streams) == 0)


async def test_a_stranger_of_the_hub_is_refused(service: Running) -> None:
    answer = await service.client("stranger-token").get("whoami")
    assert answer.status_code == 403 and "access:services" in answer.json()["detail"]


async def test_a_service_of_the_hub_never_becomes_the_user_of_its_name(service: Running) -> None:
    service.hub.tokens["evil"] = model("bob", kind="service")
    await service.client("bob-token").post("tasksets", json=document("bobs"))
    evil = service.client("evil")
    assert (await evil.get("whoami")).json()["user"] == "service:bob"
    assert (await evil.get("tasksets/bob/bobs")).status_code == 404
    for answer in (
        await evil.post("tasksets", json=document()),
        await evil.get("tasksets"),
        await evil.get("secrets"),
        await evil.put("secrets/a", json={"value": "x"}),
    ):
        assert answer.status_code == 403 and "service" in answer.json()["detail"]


async def test_a_hub_that_does_not_answer_is_said_so(service: Running) -> None:
    service.hub.broken = True
    answer = await service.client("alice-token").get("whoami")
    assert answer.status_code == 503 and answer.json()["code"] == "unavailable"
    assert (await service.client(LOCAL).get("whoami")).status_code == 200


def test_no_local_token_matches_nothing() -> None:
    assert not LocalToken("", "owner").matches("")
    assert LocalToken("a", "owner").matches("a")


async def test_users_whose_names_look_alike_are_different_tenants(service: Running) -> None:
    names = ["Alice", "alice.", "alice@lab", "ålice", "alice-", "a-lice"]
    spaces = set()
    for number, name in enumerate(names):
        service.hub.tokens[f"t{number}"] = model(name)
        spaces.add((await service.client(f"t{number}").get("whoami")).json()["namespace"])
    spaces.add("alice")
    assert len(spaces) == len(names) + 1
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", space) for space in spaces)


# --- browsers


def cookie(service: Running, token: str) -> dict[str, str]:
    """Return the cookie that a browser has after logging in."""
    from tornado.web import create_signed_value

    name = service.oauth.cookie_name
    secret = service.app.settings["cookie_secret"]
    return {name: create_signed_value(secret, name, token).decode()}


async def page(service: Running, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{service.port}/services/octopus/", headers=headers)


def joined(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def test_the_page_sends_a_browser_to_the_hub_and_shows_own_tasksets_escaped(service: Running) -> None:
    sent_away = await page(service)
    assert sent_away.status_code == 302
    assert "client_id=service-octopus" in sent_away.headers["location"]
    assert "state=" in sent_away.headers["location"]
    service.hub.tokens["odd"] = model("<script>alert(1)</script>")
    await service.client("odd").post("tasksets", json=document("visible"))
    await service.client("bob-token").post("tasksets", json=document("foreign"))
    shown = await page(service, Cookie=joined(cookie(service, "odd")))
    assert shown.status_code == 200, shown.text
    assert "visible" in shown.text and "foreign" not in shown.text
    assert "<script>" not in shown.text and "&lt;script&gt;" in shown.text
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]


async def test_a_cookie_alone_never_changes_anything(service: Running) -> None:
    client = service.client("", Cookie=joined(cookie(service, "alice-token")))
    answer = await client.post("tasksets", json=document())
    assert answer.status_code == 401 and not service.backend.truth.tasksets
    crossed = await client.get("tasksets", headers={"Sec-Fetch-Mode": "cors"})
    assert crossed.status_code == 401
    assert (await client.get("tasksets")).status_code == 200


async def test_a_cookie_with_the_token_against_forgery_may(service: Running) -> None:
    login = cookie(service, "alice-token")
    shown = await page(service, Cookie=joined(login), **{"Sec-Fetch-Mode": "navigate"})

    given = re.search(r"_xsrf=([^;]+)", shown.headers.get("set-cookie", ""))
    assert given, "the page gives the browser its token"
    client = service.client("", Cookie=joined({**login, "_xsrf": given.group(1)}))
    assert (await client.post("tasksets", json=document())).status_code == 401
    answer = await client.post("tasksets", json=document(), headers={"X-XSRFToken": given.group(1)})
    assert answer.status_code == 201, answer.text


async def test_a_forged_cookie_is_no_login(service: Running) -> None:
    answer = await page(service, Cookie=f"{service.oauth.cookie_name}=alice-token")
    assert answer.status_code == 302


async def test_without_a_hub_only_the_local_token_counts() -> None:
    from octopus_hub.service.identity import Authenticator

    authenticator = Authenticator(LocalToken(LOCAL, "owner"))
    with pytest.raises(Unauthenticated):
        authenticator.of_model(None)
