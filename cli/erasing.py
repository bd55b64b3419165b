"""The patient's command that has no way back: a record erased, and what its holders attest of that."""

from pathlib import Path

import click
from msgspec.structs import replace

from cli import render
from cli.asking import confirm, with_words, words_options
from cli.launch import call_started
from cli.settings import Settings, pass_settings, starting_options
from cli.sharing import reader
from cli.values import IdParam
from protocol import exits
from protocol.control import EraseResult, HolderItem, MyErase, MyErasures
from protocol.errors import Code, UserError

_ID_CHARS = 64


@click.command()
@starting_options
@words_options
@click.option("--yes", is_flag=True, help="Do it without being asked: needs the record's whole id.")
@click.argument("record", metavar="RECORD", type=IdParam())
@pass_settings
def erase(settings: Settings, words_file: Path | None, words_fd: int | None, yes: bool, record: str) -> int:
    """Erase a record for good, at every clinic that holds it. Of an erased one: what they attest."""
    ask = MyErase(record=record)
    shown = call_started(settings, ask)
    if shown.state != "erased":
        if not settings.is_json:
            _note_loss(settings, shown)
        _confirm(shown, record, yes=yes, is_json=settings.is_json)
        ask = MyErase(record=shown.token)
        progress = render.ProgressLine(is_json=settings.is_json)
        shown = with_words(
            words_file,
            words_fd,
            lambda words: call_started(settings, replace(ask, words=words), progress),
        )
        progress.clear()
    if settings.is_json:
        render.document(shown)
    else:
        _print_erased(settings, shown)
    return _status(shown)


@click.command()
@starting_options
@pass_settings
def erasures(settings: Settings) -> int:
    """The records that you erased, and which clinics attest that they deleted them."""
    result = call_started(settings, MyErasures())
    if settings.is_json:
        render.document(result)
    else:
        render.table(
            ("ID", "CLINIC", "DELETED AT", "NOT YET", "TITLE"),
            (
                (
                    render.short(one.token),
                    render.named(one.issuer_name, one.issuer),
                    ", ".join(_name(holder) for holder in one.holders if holder.state == "deleted") or "-",
                    ", ".join(_name(holder) for holder in one.holders if holder.state != "deleted") or "-",
                    one.title or "?",
                )
                for one in result.erasures
            ),
            empty="you erased nothing",
        )
    return max(map(_status, result.erasures), default=exits.DONE)


def _note_loss(settings: Settings, shown: EraseResult) -> None:
    """What erasing would end, and what it cannot undo."""
    who = render.named(shown.issuer_name, shown.issuer)
    render.note(f"{render.short(shown.token)}  {shown.title}, from {who}, {render.when(shown.time)}")
    render.note(f"held by {', '.join(map(_name, shown.holders))}: each deletes its copy and attests it")
    if shown.grants:
        render.note(f"shared with {', '.join(sorted(set(map(reader, shown.grants))))}: that ends")
    read_by: dict[str, str] = {}
    for one in shown.accesses:  # newest first
        read_by.setdefault(render.named(one.member_name, one.member), render.when(one.time))
    if read_by:
        readers = ", ".join(f"{name} (last {time})" for name, time in read_by.items())
        render.note(f"already read by {readers}: those copies are NOT undone")
    else:
        render.note("no clinic that was asked tells of a reading; what was read elsewhere is NOT undone")
    if shown.unreached:
        count = render.counted(len(shown.unreached), "clinic")
        render.note(f"{count} could not be reached: what was read there is missing here")
    if shown.prior or shown.amended_by:
        render.note(
            f"this is one version of a record with a history: the others stay, see chartmesh my records"
            f"{settings.place.flags}"
        )
    render.note(f"{who} keeps what its law asks of it in its own files; that this record was is not erased")


def _confirm(shown: EraseResult, record: str, *, yes: bool, is_json: bool) -> None:
    """Asks twice; without a person there the whole id stands for the second answer.

    Raises:
        UserError: USAGE, not confirmed.
    """
    if yes and len(record) < _ID_CHARS:
        raise UserError(
            "--yes erases only what is named in full",
            f"give all {_ID_CHARS} characters of the id",
            code=Code.USAGE,
        )
    confirm("Erase it for good? Nobody can bring it back.", yes=yes, is_json=is_json)
    if yes:
        return
    wanted = render.short(shown.token)
    if click.prompt(f"Type {wanted} to erase it", err=True).strip() not in (wanted, shown.token):
        raise UserError(
            "that is not the record's id, so nothing was done", "run it again to do it", code=Code.USAGE
        )


def _print_erased(settings: Settings, one: EraseResult) -> None:
    again = f"chartmesh my erase {render.short(one.token)}{settings.place.flags}"
    if not one.final:
        render.say(f"{render.short(one.token)}  sent, but not final yet  {one.title}")
        render.note(f"see later: {again}")
        return
    open_ = [holder for holder in one.holders if holder.state != "deleted"]
    rest = "".join(f"; {_name(holder)} {_open_words(holder)}" for holder in open_)
    render.say(
        f"{render.short(one.token)}  erased: deleted at {len(one.deleted_at)} of {len(one.holders)} "
        f"holders{rest}"
    )
    for holder in one.holders:
        if holder.state == "deleted":
            posted = ", under its head on the ledger" if holder.is_posted else ""
            render.note(f"{_name(holder)} attests it in its audit log, {render.when(holder.time)}{posted}")
    render.note("an attestation is the clinic's word; copies that were already read are not undone")
    if open_:
        render.note(f"see later: {again}")


def _open_words(holder: HolderItem) -> str:
    return {
        "unreached": "not reached: it deletes on return",
        "waiting": "has not attested it yet",
    }.get(holder.state, f"shows an audit log that does not hold ({holder.state})")


def _name(holder: HolderItem) -> str:
    return render.named(holder.name, holder.member)


def _status(one: EraseResult) -> int:
    if not one.final:
        return exits.NOT_FINAL
    is_whole = all(holder.state == "deleted" for holder in one.holders)
    return exits.DONE if is_whole else exits.IN_PART
