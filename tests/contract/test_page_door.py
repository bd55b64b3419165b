"""The page over real HTTP on loopback, before a scripted node: who comes in, and what every answer says."""

from typing import Any

import httpx
import pytest
import trio

from node.exchange import Exchange
from node.web.gate import CONTENT_POLICY
from protocol import control, limits
from protocol.errors import Refused
from tests.control_samples import PROVISION
from tests.page_world import CLINIC_B, GRANT, PATIENT, TITLE, TOKEN, open_world


async def test_a_link_opens_the_page_once_and_the_next_browser_finds_it_locked() -> None:
    async with open_world() as world:
        link = await world.link()
        first = await world.client.get(link)
        assert first.status_code == 200
        assert "Your records" in first.text
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as other:
            again = await other.get(link)
            assert again.status_code == 401
            assert "used already" in again.text
            assert (await other.get(world.base + "/")).status_code == 401


async def test_the_cookie_is_kept_from_scripts_other_sites_and_other_services_of_this_machine() -> None:
    async with open_world() as world:
        answer = await world.client.get(await world.link(), follow_redirects=False)
        cookie = answer.headers["set-cookie"].lower()
        assert answer.status_code == 303
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert f"path={world.root}/" in cookie
        assert len(world.root) > 16


async def test_every_answer_says_what_a_browser_may_do_with_it() -> None:
    async with open_world() as world:
        locked, inside = await world.get("/"), await world.enter()
        static, turned = await world.get("/static/page.css"), await world.client.get(world.origin + "/")
        assert (locked.status_code, static.status_code, turned.status_code) == (401, 200, 404)
        for answer in (locked, inside, static, turned):
            assert answer.headers["content-security-policy"] == CONTENT_POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "server" not in answer.headers
        assert "unsafe" not in CONTENT_POLICY


@pytest.mark.parametrize("host", ["localhost", "attacker.example", "127.0.0.1", "127.0.0.1:1", ""])
async def test_a_name_that_leads_here_by_a_trick_is_turned_away(host: str) -> None:
    async with open_world() as world:
        await world.enter()
        assert (await world.get("/", host=host)).status_code in (400, 421)
        assert (await world.get("/")).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_reads_nothing(site: str) -> None:
    async with open_world() as world:
        await world.enter()
        assert (await world.get("/", sec_fetch_site=site)).status_code == 403
        assert (await world.get("/", sec_fetch_site="same-origin")).status_code == 200


async def test_a_link_may_be_clicked_in_any_program() -> None:
    async with open_world() as world:
        headers = {"sec-fetch-site": "cross-site"}
        answer = await world.client.get(await world.link(), headers=headers, follow_redirects=False)
        assert answer.status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://attacker.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json"}, 415),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
async def test_a_form_of_another_page_changes_nothing(headers: dict[str, str], status: int) -> None:
    async with open_world() as world:
        await world.enter()
        form = {"csrf": await world.csrf()}
        answer = await world.post(f"/shares/{GRANT}/stop", form, **headers)
        assert answer.status_code == status
        assert not asked(world.script, control.MyStop)


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
async def test_a_form_without_the_secret_of_its_session_changes_nothing(csrf: str) -> None:
    async with open_world() as world:
        await world.enter()
        answer = await world.post(f"/shares/{GRANT}/stop", {"csrf": csrf})
        assert answer.status_code == 400
        assert not asked(world.script, control.MyStop)


async def test_a_form_of_another_session_changes_nothing() -> None:
    async with open_world() as world:
        await world.enter()
        stolen = await world.csrf()
        world.client.cookies.clear()
        await world.enter()
        answer = await world.post(f"/shares/{GRANT}/stop", {"csrf": stolen})
        assert answer.status_code == 400
        assert not asked(world.script, control.MyStop)


async def test_nothing_is_done_without_a_session() -> None:
    async with open_world() as world:
        assert (await world.post(f"/shares/{GRANT}/stop", {"csrf": "0"})).status_code == 401
        assert (await world.get("/events")).status_code == 401
        assert (await world.get(f"/records/{TOKEN}/original")).status_code == 401
        assert world.script.asked == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_turned_away(method: str) -> None:
    async with open_world() as world:
        await world.enter()
        assert (await world.client.request(method, world.base + "/")).status_code == 405


async def test_a_form_that_is_too_long_is_refused_and_the_page_goes_on() -> None:
    async with open_world() as world:
        await world.enter()
        form = {"csrf": await world.csrf(), "more": "x" * limits.PAGE_FORM_BYTES_MAX}
        assert (await world.post(f"/shares/{GRANT}/stop", form)).status_code == 400
        assert (await world.get("/")).status_code == 200
        assert not asked(world.script, control.MyStop)


async def test_who_leaves_is_outside() -> None:
    async with open_world() as world:
        await world.enter()
        cookie = dict(world.client.cookies)
        left = await world.post("/leave", {"csrf": await world.csrf()})
        assert left.status_code == 401
        world.client.cookies.update(cookie)
        assert (await world.get("/")).status_code == 401


async def test_titles_are_text_and_never_markup() -> None:
    async with open_world() as world:
        text = (await world.enter()).text
        assert TITLE not in text
        assert "Blood &lt;b&gt;count&lt;/b&gt; &amp; more" in text


async def test_sharing_and_stopping_ask_the_node_and_say_what_became_of_it() -> None:
    async with open_world() as world:
        await world.enter()
        form = {"csrf": await world.csrf(), "clinic": CLINIC_B, "days": "30", "purpose": "TREAT"}
        shared = await world.post(f"/records/{TOKEN}/share", form)
        assert "clinic-b can read this record until 23 Dec 2026" in shared.text
        [request] = asked(world.script, control.MyShare)
        assert request == control.MyShare(
            records=(TOKEN,), clinic=CLINIC_B, for_ms=30 * limits.DAY_MS, purposes=("TREAT",)
        )
        stopped = await world.post(f"/shares/{GRANT}/stop", {"csrf": form["csrf"]})
        assert (
            "1 of 2 clinics refuse clinic-b from now on; the rest will stop within 1 min 30 s"
            in stopped.text
        )
        assert asked(world.script, control.MyStop) == [control.MyStop(id=GRANT)]
        assert "from now on" not in (await world.get("/shares")).text


async def test_what_is_shared_as_it_comes_is_shown_and_can_be_ended() -> None:
    shares = control.MySharesResult(grants=(), provisions=(PROVISION,))
    ended = control.MyStopResult(stops=(), ended=(PROVISION.id,))
    async with open_world(PATIENT | {control.MyShares: shares, control.MyStop: ended}) as world:
        await world.enter()
        said = "is let read all FHIR records that clinic-a added since 31 Jan 2026, also those that come"
        assert said in (await world.get("/shares")).text
        asking = (await world.get(f"/shares/{PROVISION.id}/stop")).text
        assert said in asking
        assert "Stop clinic-b</button>" in asking
        stopped = await world.post(f"/shares/{PROVISION.id}/stop", {"csrf": await world.csrf()})
        assert "Records that come are not shared any more." in stopped.text
        assert asked(world.script, control.MyStop) == [control.MyStop(id=PROVISION.id)]


async def test_who_asks_what_a_share_would_mean_is_told_and_shares_nothing() -> None:
    no = control.PreviewVerdict(can_read=False, reason="expired", why="it has run out")
    new = control.PreviewItem(
        token=TOKEN,
        title=TITLE,
        grant="",
        reader=CLINIC_B,
        reader_name="clinic-b",
        purposes=("TREAT", "HRESCH"),
        not_after="2026-12-23T12:00:00.000Z",
        is_new=True,
        now=control.PreviewVerdict(can_read=True),
        then=no,
    )
    shown = control.MyPreviewResult(
        now="2026-11-25T12:00:00.000Z", at="2026-12-24T12:00:00.000Z", rows=(new,)
    )
    async with open_world(PATIENT | {control.MyPreview: shown}) as world:
        await world.enter()
        form = {"csrf": await world.csrf(), "clinic": CLINIC_B, "days": "7", "purpose": "HRESCH"}
        answer = await world.post(f"/records/{TOKEN}/share", form | {"preview": "1"})
        assert answer.status_code == 200
        text = " ".join(answer.text.split())
        assert "for treatment and research, until 23 Dec 2026, by this share" in text
        assert ": now can read; on 24 Dec 2026 cannot, because it has run out." in text
        assert 'value="7" checked' in text
        assert 'value="HRESCH" checked' in text
        assert 'value="TREAT" checked' not in text
        terms = control.ShareTerms(clinic=CLINIC_B, for_ms=7 * limits.DAY_MS, purposes=("HRESCH",))
        assert asked(world.script, control.MyPreview) == [
            control.MyPreview(records=(TOKEN,), in_ms=8 * limits.DAY_MS, share=terms)
        ]
        assert not asked(world.script, control.MyShare)


@pytest.mark.parametrize(
    ("field", "value"),
    [("days", "-1"), ("days", "1e9"), ("days", ""), ("clinic", ""), ("purpose", "treat"), ("purpose", "")],
)
async def test_a_form_that_says_something_else_shares_nothing(field: str, value: str) -> None:
    async with open_world() as world:
        await world.enter()
        form = {"csrf": await world.csrf(), "clinic": CLINIC_B, "days": "30", "purpose": "TREAT"}
        answer = await world.post(f"/records/{TOKEN}/share", form | {field: value})
        assert answer.status_code == 400
        assert not asked(world.script, control.MyShare)


@pytest.mark.parametrize(
    "path", ["/records/zz", f"/records/{GRANT}", "/shares/0/stop", "/nowhere", "/who?record=x"]
)
async def test_what_is_not_there_is_told_with_what_to_do(path: str) -> None:
    async with open_world() as world:
        await world.enter()
        answer = await world.get(path)
        assert answer.status_code == 404
        assert "What to do" in answer.text


@pytest.mark.parametrize("name", ["../page.css", "..%2fpage.css", "x", "%2e%2e/templates/base.html", ""])
async def test_only_the_named_files_are_served(name: str) -> None:
    async with open_world() as world:
        assert (await world.get(f"/static/{name}")).status_code in (401, 404)


async def send_content(_: Any, exchange: Exchange) -> control.Document:
    await exchange.write_data(b"<script>alert(1)</script>")
    return control.RecordGetResult(token=TOKEN, bytes=25, sha256="", audit_id="")


async def refuse(_: Any, __: Exchange) -> control.Document:
    raise Refused


async def break_off(_: Any, exchange: Exchange) -> control.Document:
    await exchange.write_data(b"half of it")
    raise Refused


async def test_a_record_is_saved_and_never_shown() -> None:
    async with open_world(PATIENT | {control.MyRecord: send_content}) as world:
        await world.enter()
        answer = await world.get(f"/records/{TOKEN}/original")
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_record_that_cannot_be_had_is_told_on_a_page() -> None:
    async with open_world(PATIENT | {control.MyRecord: refuse}) as world:
        await world.enter()
        answer = await world.get(f"/records/{TOKEN}/original")
        assert answer.status_code == 404
        assert "What to do" in answer.text


async def test_half_a_record_is_no_file() -> None:
    async with open_world(PATIENT | {control.MyRecord: break_off}) as world:
        await world.enter()
        with pytest.raises(httpx.RemoteProtocolError):
            await world.get(f"/records/{TOKEN}/original")
        assert (await world.get("/")).status_code == 200


async def test_a_fault_of_the_node_costs_one_answer() -> None:
    async def fail(_: Any, __: Exchange) -> control.Document:
        raise ZeroDivisionError

    async with open_world(PATIENT | {control.MyShares: fail}) as world:
        await world.enter()
        answer = await world.get("/shares")
        assert answer.status_code == 500
        assert "fault of chartmesh" in answer.text
        assert (await world.get("/")).status_code == 200


async def test_a_change_of_the_node_is_news_to_an_open_page() -> None:
    answers = dict(PATIENT)
    async with open_world(answers) as world:
        await world.enter()
        form = {"csrf": await world.csrf()}
        with trio.fail_after(30):
            async with world.client.stream("GET", world.base + "/events") as stream:
                lines = stream.aiter_lines()
                assert (await anext(lines)).startswith(":")
                answers[control.Status] = control.StatusResult(
                    **{
                        field: getattr(PATIENT[control.Status], field)
                        for field in control.StatusResult.__struct_fields__
                    }
                    | {"height": 13}
                )
                while await anext(lines) != "event: changed":
                    pass
                await world.post("/leave", form)
                assert "event: ended" in [line async for line in lines]


async def test_the_news_end_with_the_session() -> None:
    async with open_world() as world:
        await world.enter()
        csrf = await world.csrf()
        with trio.fail_after(30):
            async with world.client.stream("GET", world.base + "/events") as stream:
                lines = stream.aiter_lines()
                await anext(lines)
                await world.post("/leave", {"csrf": csrf})
                seen = [line async for line in lines]
        assert "event: ended" in seen


def asked(script: Any, kind: type) -> list[Any]:
    return [request for request in script.asked if type(request) is kind]
