"""Commands about records, for a clinic."""

from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import click
from msgspec.structs import replace

from cli import render
from cli.client import call
from cli.files import RecordFile
from cli.receive import check_output, receive
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from cli.structure import Source, examine_all
from cli.studies import StudyFolder
from cli.study_files import check_part, part_options, show_files
from cli.values import IdParam, parse_day, parse_purpose, rows_option, since_option, terminal_user
from protocol import exits
from protocol.control import (
    RecordAdd,
    RecordAdded,
    RecordAddResult,
    RecordGet,
    RecordList,
    RecordShow,
    RecordVerify,
    RecordVerifyResult,
)
from protocol.control.asking import RecordType, RequestKind
from protocol.errors import ChartmeshError, Code, UserError

_COMPLETE_S = 1.0


def list_records(settings: Settings) -> list[tuple[str, str]]:
    """Ids and titles of the records that the node lists, for completion."""
    found = call(settings.place, RecordList(), timeout_s=_COMPLETE_S)
    return [(one.token, one.title) for one in found.records]


RECORD = IdParam(list_records)


@click.group()
@shared_options
def record() -> None:
    """Records: add, list, show, verify, get."""


@record.command()
@shared_options
@click.option("--for", "code", required=True, metavar="CODE", help="The patient's receive code.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["auto", "fhir", "dicom", "cda", "hl7v2", "pdf", "image", "other"]),
    default="auto",
    show_default=True,
)
@click.option("--title", default="", help="What the patient sees; kept encrypted.")
@click.option("--patient", default="", help="Your own name for the patient; stays in this clinic.")
@click.option("--amends", "prior", metavar="ID", type=RECORD, help="The record of yours that it corrects.")
@click.option(
    "--keep-until",
    metavar="DATE",
    help="The day to which you have to keep it: no wallet erases it before.",
)
@click.option("--as-is", is_flag=True, help="Also where a file is damaged, or not what it should be.")
@click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...", type=ANY_PATH)
@pass_settings
def add(
    settings: Settings,
    code: str,
    kind: RecordType,
    title: str,
    patient: str,
    prior: str | None,
    keep_until: str | None,
    as_is: bool,
    files: tuple[Path, ...],
) -> int:
    """Add record files for a patient, each as one record that the patient owns.

    The folder of a DICOM study becomes one record with all its files.
    """
    if prior is not None and len(files) > 1:
        raise click.UsageError("one file amends a record, not several")
    keep_until_ms = None if keep_until is None else parse_day(keep_until)
    added: list[RecordAdded] = []
    failure: ChartmeshError | None = None
    with ExitStack() as stack:
        # All are opened before the first is sent, so that a typo in the last costs nothing.
        opened = [_open(stack, path) for path in files]
        structures = examine_all(opened, kind, as_is=as_is)
        for one, structure in zip(opened, structures, strict=True):
            request = RecordAdd(
                name=one.name,
                size=one.size,
                code=code.strip(),
                type="auto" if isinstance(one, StudyFolder) else kind,
                title=title,
                patient=patient,
                prior=prior,
                keep_until_ms=keep_until_ms,
            )
            try:
                found = _add(settings, one, request).records
                added.extend(replace(each, structure=structure) for each in found)
            except ChartmeshError as error:
                failure = error
                break
    if failure is not None and not added:
        raise failure
    _print_added(settings, added)
    if failure is not None:
        raise UserError(
            f"{len(added)} of {len(files)} files added, then: {failure.message}",
            failure.hint,
            code=Code.PARTIAL,
        )
    return exits.DONE if all(one.final for one in added) else exits.NOT_FINAL


@record.command("list")
@shared_options
@click.option("--patient", help="Only those of this patient, by your own name.")
@click.option(
    "--type", "kind", type=click.Choice(get_args(RequestKind)), default="all", help="Only of this type."
)
@since_option
@rows_option
@pass_settings
def list_(
    settings: Settings, patient: str | None, kind: RequestKind, since_ms: int | None, rows: int
) -> None:
    """The records that this clinic issued or can read."""
    result = call(settings.place, RecordList(patient=patient, type=kind, since_ms=since_ms, rows=rows))
    if settings.is_json:
        render.document(result)
        return
    render.table(
        ("ID", "DATE", "ISSUER", "TYPE", "SIZE", "COPIES", "GRANTS", "PATIENT", "TITLE"),
        (
            (
                render.short(one.token),
                render.when(one.time),
                render.named(one.issuer_name, one.issuer),
                one.type,
                render.size(one.size),
                "-" if one.copies is None else str(one.copies),
                str(one.grants),
                one.patient,
                one.title,
            )
            for one in result.records
        ),
        empty="no records",
    )
    if result.more:
        render.note("there are more: ask with --rows or --since")


@record.command()
@shared_options
@click.argument("identity", metavar="ID", type=RECORD)
@pass_settings
def show(settings: Settings, identity: str) -> None:
    """One record: its owner, copies, live grants and hash."""
    result = call(settings.place, RecordShow(id=identity))
    if settings.is_json:
        render.document(result)
        return
    one = result.record
    for label, value in (
        ("record", one.token),
        ("title", one.title),
        ("type", one.type),
        ("size", render.size(one.size)),
        ("issued", f"{render.when(one.time)} by {render.named(one.issuer_name, one.issuer)}"),
        ("owner key", f"{result.owner}, generation {result.generation}"),
        ("state", "erased" if result.erased else f"final at height {result.height}"),
        ("copies", ", ".join(f"{copy.name} {copy.state}" for copy in result.copies) or "none"),
        ("amends", one.prior or "nothing"),
        ("grants", f"{one.grants} live"),
        ("hash", result.root),
    ):
        render.say(f"{label:<10} {value}")


@record.command()
@shared_options
@click.argument("identity", metavar="ID", type=RECORD)
@pass_settings
def verify(settings: Settings, identity: str) -> int:
    """Check a record: its proof, and that its copies are there. Exits 13 where the copy here is damaged."""
    progress = render.ProgressLine(is_json=settings.is_json)
    result = call(settings.place, RecordVerify(id=identity), report=progress)
    progress.clear()
    if settings.is_json:
        render.document(result)
    else:
        _print_verified(result)
    if not result.is_proven or any(one.state == "damaged" for one in result.copies):
        return exits.exit_status(Code.STORE_DAMAGED)
    are_there = all(one.state in ("whole", "shown") for one in result.copies)
    return exits.DONE if are_there else exits.IN_PART


@record.command()
@shared_options
@click.option("--purpose", help="Why: a code of HL7 PurposeOfUse, or a word such as treatment.")
@click.option("--as", "user", help="Who reads it, by name; else the user of this terminal.")
@click.option(
    "-o", "--output", default=".", metavar="DIR|-", help="Where to save; - is the standard output."
)
@part_options
@click.option("--grant", type=ANY_PATH, hidden=True, help="Present the grant body in this file.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...", type=RECORD)
@pass_settings
def get(
    settings: Settings,
    purpose: str | None,
    user: str | None,
    output: str,
    file: str | None,
    is_index: bool,
    grant: Path | None,
    ids: tuple[str, ...],
) -> None:
    """Get records that this clinic may read. Each access is told to the patient."""
    check_output(settings, output, len(ids))
    check_part(file, is_index=is_index, output=output, count=len(ids))
    code = parse_purpose(purpose)
    body = None if grant is None else _grant_body(grant)
    reader = user or terminal_user()
    for done, identity in enumerate(ids):
        request = RecordGet(
            id=identity, purpose=code, user=reader, grant=body, file=file, is_index=is_index
        )
        if is_index:
            show_files(settings, request)
            return
        try:
            receive(settings, request, output, is_part=file is not None)
        except ChartmeshError as error:
            if done == 0:
                raise
            raise UserError(
                f"{done} of {len(ids)} records saved, then: {error.message}", error.hint, code=Code.PARTIAL
            ) from error


def _open(stack: ExitStack, path: Path) -> Source:
    return StudyFolder(path) if path.is_dir() else stack.enter_context(RecordFile(path))


def _add(settings: Settings, one: Source, request: RecordAdd) -> RecordAddResult:
    progress = render.ProgressLine(is_json=settings.is_json, label=one.name)
    try:
        return call(settings.place, request, content=one.pieces(), report=progress)
    finally:
        progress.clear()


def _print_added(settings: Settings, added: list[RecordAdded]) -> None:
    if settings.is_json:
        render.document(RecordAddResult(records=tuple(added)))
        return
    for one in added:
        state = "accepted, not final yet"
        if one.final:
            state = "final" if one.final_s is None else f"final in {one.final_s:.1f} s"
        wanted = one.copies + len(one.missing)
        render.say(
            f"{one.file}: {render.short(one.token)}  {render.size(one.size)}  {one.type}  "
            f"copies {one.copies}/{wanted}  {state}"
        )


def _print_verified(result: RecordVerifyResult) -> None:
    proof = "proven" if result.is_proven else "NOT PROVEN"
    state = ", erased" if result.erased else ""
    render.say(f"{render.short(result.token)}  {proof} under the final block {result.height}{state}")
    for one in result.copies:
        name, count = render.named(one.name, one.member), render.counted(one.looked_at, "chunk")
        words = {
            "whole": f"its copy is whole: {count} read again",
            "damaged": f"its copy is DAMAGED: {one.bad} of {count} are not what they should be",
            "shown": f"has its copy: it showed {count} drawn just now",
            "missing": "does NOT have the copy that it should",
            "unreachable": "cannot be reached",
            "unknown": "was not asked: only clinics that hold a copy themselves may",
        }
        render.say(f"  {name} {words[one.state]}")


def _grant_body(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
        bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read a grant body from {path}", "it is one line of hex", code=Code.USAGE
        ) from error
    return text.lower()
