"""The patient's page of sharing by kind: what there is of it, and where she wants that also what comes."""

from typing import Final

from starlette.responses import Response

from node.web import forms, words
from node.web.request_pages import DAYS
from node.web.sharing_pages import PURPOSES, Choice, chosen_person, several_persons
from node.web.visit import Handler, Visit
from protocol import limits
from protocol.control import KIND_WORDS, Members, MyShareKind, day_ms

ANY: Final = "any"


async def ask_share_kind(visit: Visit) -> Response:
    """What of, with whom, how long and what for."""
    members = (await visit.asking(Members())).members
    return visit.page(
        "share_kind.html",
        clinics=sorted(members, key=lambda one: one.name),
        persons=await several_persons(visit),
        kinds=KIND_WORDS,
        days=DAYS,
        purposes=PURPOSES,
        choice=Choice(""),
        any=ANY,
    )


async def share_kind(visit: Visit) -> Response:
    """Shares as the form says."""
    form = await visit.form()
    kind, issuer = forms.one(form, "kind"), forms.one(form, "issuer")
    if kind not in KIND_WORDS:
        raise forms.unclear("which records")
    purposes = tuple(form.get("purpose", [])[: limits.PURPOSES_MAX])
    if not purposes:
        raise forms.unclear("what for")
    request = MyShareKind(
        clinic=forms.one(form, "clinic"),
        for_ms=forms.days(forms.one(form, "days"), DAYS) * limits.DAY_MS,
        purposes=purposes,
        kind=kind,  # type: ignore[arg-type]
        issuer=None if issuer == ANY else issuer,
        since_ms=_since(form.get("since", [""])),
        is_future="future" in form,
        person=await chosen_person(visit, form),
    )
    shared = await visit.asking(request)
    told = [words.can_read(shared.grants)] if shared.grants else ["You have no such record now."]
    if shared.provision is not None:
        told.append("What comes is shared too, until you stop it.")
    return visit.go("/shares", " ".join(told))


def _since(values: list[str]) -> int:
    """The first moment of a day, UTC; 0 where none is named. Raises UserError."""
    match values:
        case [""]:
            return 0
        case [str(text)]:
            try:
                return max(0, day_ms(text))
            except ValueError:
                raise forms.unclear("since when") from None
        case _:
            raise forms.unclear("since when")


KIND_SHOWN: Final[tuple[tuple[str, Handler], ...]] = (("/shares/all", ask_share_kind),)
KIND_DONE: Final[tuple[tuple[str, Handler], ...]] = (("/shares/all", share_kind),)
