"""The patient's pages of sharing: with whom, who could then see what, what is shared, and the end of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from node.web import forms, words
from node.web.reading_pages import find_record
from node.web.request_pages import DAYS
from node.web.visit import Handler, Visit
from protocol import limits
from protocol.control import (
    GrantItem,
    Members,
    MyPersons,
    MyPreview,
    MyPreviewResult,
    MyRecordItem,
    MyShare,
    MyShares,
    MyStop,
    PersonItem,
    ProvisionItem,
    ShareTerms,
)
from protocol.errors import Refused

EXPIRES_SOON_MS: Final = 7 * limits.DAY_MS
PURPOSES: Final = ("TREAT", "HRESCH", "HPAYMT", "ETREAT")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen in the form; at first the usual, so that one click is enough."""

    clinic: str
    days: int = 30
    purposes: tuple[str, ...] = PURPOSES[:1]

    @property
    def for_ms(self) -> int:
        return self.days * limits.DAY_MS


async def ask_share(visit: Visit) -> Response:
    """With whom, how long and what for."""
    return await _form(visit, await find_record(visit))


async def share(visit: Visit) -> Response:
    """Shares as the form says; or only shows who could then read, where that was asked for."""
    form = await visit.form()
    token = forms.identity(visit.name("token"))
    choice = Choice(
        forms.one(form, "clinic"),
        forms.days(forms.one(form, "days"), DAYS),
        tuple(form.get("purpose", [])[: limits.PURPOSES_MAX]),
    )
    if "preview" in form:
        return await _preview(visit, choice)
    request = MyShare(
        records=(token,), clinic=choice.clinic, for_ms=choice.for_ms, purposes=choice.purposes
    )
    shared = await visit.asking(request)
    return visit.go(f"/records/{token}", words.can_read(shared.grants))


async def show_shares(visit: Visit) -> Response:
    answer = await visit.asking(MyShares())
    live, past = words.parted(sorted(answer.grants, key=lambda one: one.not_after))
    return visit.page(
        "shares.html", live=live, past=past, soon=soon_of(visit, live), provisions=answer.provisions
    )


async def ask_stop(visit: Visit) -> Response:
    grant, provision = await _to_stop(visit)
    return visit.page("stop.html", grant=grant, provision=provision)


async def stop(visit: Visit) -> Response:
    await visit.form()
    stopped = await visit.asking(MyStop(id=forms.identity(visit.name("grant"))))
    ended = ["Records that come are not shared any more."] if stopped.ended else []
    return visit.go("/shares", " ".join([*ended, *map(words.has_stopped, stopped.stops)]))


SHARING_SHOWN: Final[tuple[tuple[str, Handler], ...]] = (
    ("/records/{token}/share", ask_share),
    ("/shares", show_shares),
    ("/shares/{grant}/stop", ask_stop),
)
SHARING_DONE: Final[tuple[tuple[str, Handler], ...]] = (
    ("/records/{token}/share", share),
    ("/shares/{grant}/stop", stop),
)


def soon_of(visit: Visit, grants: Sequence[GrantItem]) -> set[str]:
    """The grants that end within a week."""
    by = visit.clock.wall_ms() + EXPIRES_SOON_MS
    return {one.grant for one in grants if words.local(one.not_after).timestamp() * 1000 < by}


async def several_persons(visit: Visit) -> tuple[PersonItem, ...]:
    """Whose records the wallet holds, where that is more than one person's."""
    persons = (await visit.asking(MyPersons())).persons
    return persons if len(persons) > 1 else ()


async def chosen_person(visit: Visit, form: dict[str, list[str]]) -> str | None:
    """Whom a form names. Raises UserError where it names nobody, and there are several."""
    if "person" in form:
        return forms.one(form, "person")
    if await several_persons(visit):
        raise forms.unclear("whose")
    return None


async def _preview(visit: Visit, choice: Choice) -> Response:
    """Who could read now, and on the day after the share has run out."""
    record = await find_record(visit)
    terms = ShareTerms(clinic=choice.clinic, for_ms=choice.for_ms, purposes=choice.purposes)
    after_ms = min(choice.for_ms + limits.DAY_MS, limits.GRANT_LIFE_MS_MAX)
    shown = await visit.asking(MyPreview(records=(record.token,), in_ms=after_ms, share=terms))
    return await _form(visit, record, choice, shown)


async def _form(
    visit: Visit,
    record: MyRecordItem,
    choice: Choice | None = None,
    shown: MyPreviewResult | None = None,
) -> Response:
    members = (await visit.asking(Members())).members
    holding = {grant.grantee for grant in record.grants}
    clinics = sorted(
        (one for one in members), key=lambda one: (one.id in holding, one.id == record.issuer, one.name)
    )
    return visit.page(
        "share.html",
        record=record,
        clinics=clinics,
        days=DAYS,
        purposes=PURPOSES,
        choice=choice or Choice(clinics[0].id if clinics else ""),
        shown=shown,
    )


async def _to_stop(visit: Visit) -> tuple[GrantItem | None, ProvisionItem | None]:
    """The grant or the provision that the address names. Raises Refused where she gave no such."""
    name, answer = visit.name("grant"), await visit.asking(MyShares())
    for grant in answer.grants:
        if grant.grant == name:
            return grant, None
    for provision in answer.provisions:
        if provision.id == name:
            return None, provision
    raise Refused
