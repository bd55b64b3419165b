"""A patient's FHIR records from all clinics in one file, as far as this clinic may read them."""

import json
from collections.abc import Iterable
from pathlib import Path

import click

from cli import render
from cli.client import call
from cli.files import Incoming, file_error
from cli.settings import ANY_PATH, Settings, pass_settings, shared_options
from cli.values import parse_purpose, terminal_user
from protocol import exits, limits
from protocol.control import Members, PatientShow, RecordGet, Status, TimelineItem, utc
from protocol.errors import ChartmeshError, Code, Malformed, UserError
from protocol.fhir_merge import FhirSource, merge_fhir, read_resources
from protocol.fhir_summary import summarise
from protocol.records import RecordType


@click.command()
@shared_options
@click.option("--fhir", "is_fhir", is_flag=True, help="All of them as one FHIR R4 bundle, in JSON.")
@click.option("--ips", "is_ips", is_flag=True, help="As a summary, the International Patient Summary.")
@click.option(
    "-o", "--output", type=ANY_PATH, metavar="F", required=True, help="A file that is not there yet."
)
@click.option("--purpose", help="Why: a code of HL7 PurposeOfUse, or a word such as treatment.")
@click.option("--as", "user", help="Who reads it, by name; else the user of this terminal.")
@click.argument("name")
@pass_settings
def export(
    settings: Settings,
    is_fhir: bool,
    is_ips: bool,
    output: Path,
    purpose: str | None,
    user: str | None,
    name: str,
) -> int:
    """Save a patient's FHIR records of all clinics in one file: what several have once, and whose each is.

    Each record is read for it, and each access is told to the patient. Other kinds are not in it, and a
    record that was corrected is there as it is now.
    """
    if is_fhir == is_ips:
        raise click.UsageError("say as what to save it: --fhir or --ips")
    path = output.expanduser().absolute()
    if path.exists():
        raise file_error(f"{path} is there already", "name another file: nothing is overwritten")
    code, reader = parse_purpose(purpose), user or terminal_user()
    shown = call(settings.place, PatientShow(name=name, rows=limits.CONTROL_ROWS_MAX))
    wanted = current(one for one in shown.records if one.type == RecordType.FHIR)
    if shown.more or sum(one.size for one in wanted) > limits.FHIR_EXPORT_BYTES_MAX:
        raise UserError(
            f"{name} has more records than fit one bundle", "get them with record get", code=Code.LIMIT
        )
    sources: list[FhirSource] = []
    left_out: list[TimelineItem] = []
    for one in wanted:
        source = _read(settings, one, code, reader)
        if source is None:
            left_out.append(one)
        else:
            sources.append(source)
    if left_out and not sources:
        # A summary that says nothing is known, of a patient of whom all is withheld now, would mislead.
        raise UserError(
            "none of the records can be read now: nothing was saved",
            "see what each note says, and for which purpose she shares: chartmesh access list",
            code=Code.PARTIAL,
        )
    bundle = _summary(settings, name, sources) if is_ips else merge_fhir(sources, timestamp=_now())
    with Incoming(path.parent) as incoming:
        incoming.write(bundle)
        incoming.keep(path)
    _tell(settings, path, len(sources), left_out)
    return exits.IN_PART if left_out else exits.DONE


def _summary(settings: Settings, name: str, sources: list[FhirSource]) -> bytes:
    own = call(settings.place, Status()).id
    members = {one.id: one.name for one in call(settings.place, Members()).members}
    return summarise(sources, patient=name, clinic=own, clinic_name=members.get(own, own), timestamp=_now())


def current(records: Iterable[TimelineItem]) -> list[TimelineItem]:
    """Those that their own issuer has not corrected by another."""
    given = list(records)
    corrected = {(one.issuer, one.prior) for one in given}
    return [one for one in given if (one.issuer, one.token) not in corrected]


def _read(settings: Settings, one: TimelineItem, purpose: str, reader: str) -> FhirSource | None:
    """None where it cannot be read now, or is no FHIR in JSON; says so.

    Raises:
        UserError: NOT_RUNNING, the node is gone.
    """
    content = bytearray()
    try:
        call(settings.place, RecordGet(id=one.token, purpose=purpose, user=reader), sink=content.extend)
        read_resources(bytes(content))
    except ChartmeshError as error:
        if error.code is Code.NOT_RUNNING:
            raise
        what = "it is no FHIR in JSON" if isinstance(error, Malformed) else error.message
        render.note(f"{render.short(one.token)} is not in it: {what}")
        return None
    return FhirSource(one.token, one.title, one.issuer, one.issuer_name, one.time, bytes(content))


def _tell(settings: Settings, path: Path, count: int, left_out: list[TimelineItem]) -> None:
    if settings.is_json:
        tokens = [one.token for one in left_out]
        render.say(json.dumps({"v": 1, "records": count, "left_out": tokens, "path": str(path)}))
    else:
        render.say(f"{render.counted(count, 'record')} merged into {path}")


def _now() -> str:
    import time

    return utc(time.time_ns() // 1_000_000)
