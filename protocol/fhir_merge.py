"""One FHIR R4 bundle out of a patient's FHIR records from several clinics
(http://hl7.org/fhir/R4/bundle.html, http://hl7.org/fhir/R4/provenance.html).

A resource that several records have is there once. Two are the same where they are written alike, down to
the digits, and refer to the same: `Patient/1` of two clinics may be two people. Each gets a name that
follows from what it says, and what referred to it within its record refers to that name. One Provenance for
each record says who issued it, when, and which resources it had. Nothing says what is not there.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from protocol.errors import Malformed
from protocol.limits import FHIR_CHECK_BYTES_MAX, FHIR_DEPTH_MAX, FHIR_ENTRIES_MAX, FHIR_LINKS_MAX

CLINIC_SYSTEM: Final = "urn:chartmesh:clinic"
RECORD_SYSTEM: Final = "urn:chartmesh:record"
AUTHOR: Final = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}
    ]
}

Json = dict[str, Any]

# Decimals stay as they were written: FHIR gives 1.0 and 1.00 different meanings.
_decoder: Final = msgspec.json.Decoder(float_hook=lambda written: msgspec.Raw(written.encode()))
_encoder: Final = msgspec.json.Encoder()
_canonical: Final = msgspec.json.Encoder(order="sorted")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FhirSource:
    """One record. `token` and `issuer` are in hex, `issued` is an instant of FHIR, `content` is JSON or
    NDJSON."""

    token: str
    title: str
    issuer: str
    issuer_name: str
    issued: str
    content: bytes


@dataclass(slots=True)
class _Resource:
    """`links` are the objects within it that refer to others of its record, by their place in that."""

    body: Json
    links: list[tuple[Json, int]]
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class Merged:
    """The resources of several records by their names in the bundle, and a Provenance for each record."""

    resources: dict[str, Json]
    provenances: list[Json]


def merge_fhir(sources: Sequence[FhirSource], *, timestamp: str) -> bytes:
    """A bundle of the type collection. `timestamp` is an instant of FHIR.

    Raises:
        Malformed: a record is no FHIR in JSON, or over its limits.
    """
    merged = merge(sources)
    return encode_bundle(
        {"type": "collection", "timestamp": timestamp}, merged.resources, merged.provenances
    )


def merge(sources: Sequence[FhirSource]) -> Merged:
    """Raises Malformed: a record is no FHIR in JSON, or over its limits."""
    merged = Merged({}, [])
    for source in sources:
        resources = read_resources(source.content)
        names = [_name(one.label) for one in resources]
        for one, name in zip(resources, names, strict=True):
            for link, target in one.links:
                link["reference"] = names[target]
            merged.resources.setdefault(name, one.body)
        if names:
            merged.provenances.append(_provenance(source, list(dict.fromkeys(names))))
    return merged


def encode_bundle(head: Json, resources: dict[str, Json], more: Sequence[Json] = ()) -> bytes:
    """A bundle with what `head` says of it; resources in `more` are named here."""
    named = resources | {name_of(one): one for one in more}
    entries = [{"fullUrl": name, "resource": body} for name, body in named.items()]
    bundle: Json = {"resourceType": "Bundle"} | head
    return _encoder.encode(bundle | ({"entry": entries} if entries else {}))


def name_of(body: Json) -> str:
    """The name in a bundle of a resource that refers to others there."""
    return _name(_hash(_canonical.encode(body)))


def read_resources(content: bytes) -> list[_Resource]:
    """The resources of one record: those of a bundle, a single one, or one a line.

    Raises:
        Malformed: no FHIR in JSON, or over its limits.
    """
    if len(content) > FHIR_CHECK_BYTES_MAX:
        raise Malformed("a FHIR record is longer than what is read here")
    found = list(_entries(content))
    if len(found) > FHIR_ENTRIES_MAX:
        raise Malformed("a FHIR record has more resources than are read here")
    places: dict[str, int] = {}
    for place, (url, body) in enumerate(found):
        for name in filter(None, (url, f"{body['resourceType']}/{body['id']}" if "id" in body else "")):
            places.setdefault(name, place)
    resources = [_Resource(body, list(_links(body, places))) for _, body in found]
    _label(resources)
    return resources


def _entries(content: bytes) -> Iterator[tuple[str, Json]]:
    """Each resource with the address that its bundle gives it."""
    try:
        documents = [_decode(content)]
    except Malformed:
        lines = content.splitlines()
        if len(lines) < 2:
            raise
        documents = [_decode(line) for line in lines if line.strip()]
    for document in documents:
        if document["resourceType"] != "Bundle":
            yield "", document
            continue
        entries = document.get("entry", [])
        if not isinstance(entries, list):
            raise Malformed("a bundle whose entries are none")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("fullUrl", ""), str):
                raise Malformed("a bundle whose entries are none")
            if "resource" in entry:
                yield entry.get("fullUrl", ""), _resource(entry["resource"])


def _decode(raw: bytes) -> Json:
    try:
        return _resource(_decoder.decode(raw.removeprefix(_BYTE_ORDER_MARK)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Malformed("a FHIR record is no JSON") from error


def _resource(value: object) -> Json:
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise Malformed("a FHIR record has what is no resource")
    return value


def _links(body: Json, places: dict[str, int]) -> Iterator[tuple[Json, int]]:
    waiting: list[tuple[Any, int]] = [(body, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, list | dict) and depth > FHIR_DEPTH_MAX:
            raise Malformed("a FHIR record is nested deeper than is read here")
        if isinstance(value, list):
            waiting.extend((one, depth + 1) for one in value)
        elif isinstance(value, dict):
            waiting.extend((value[key], depth + 1) for key in sorted(value))
            reference = value.get("reference")
            # A version of a resource is that resource: only one of it is in a record.
            if isinstance(reference, str) and (at := reference.split("/_history/")[0]) in places:
                yield value, places[at]


def _label(resources: list[_Resource]) -> None:
    """Labels each by what it says and by all that it refers to, over any number of steps: equal labels mean
    the same resource, whatever record it is in. What is reached is taken in the order of the links, which
    makes one sequence of it."""
    said = [_said(one) for one in resources]
    steps = 0
    for place, one in enumerate(resources):
        numbers, reached, parts = {place: 0}, [place], list[bytes]()
        for at in reached:
            parts.append(said[at])
            for _, target in resources[at].links:
                if target not in numbers:
                    numbers[target] = len(reached)
                    reached.append(target)
                parts.append(numbers[target].to_bytes(4, "big"))
                steps += 1
        if steps > FHIR_LINKS_MAX:
            raise Malformed("a FHIR record whose resources refer to each other more than is followed here")
        one.label = _hash(b"".join(parts))


def _said(one: _Resource) -> bytes:
    """The hash of what a resource says, whatever those it refers to are called in its record."""
    written = [link["reference"] for link, _ in one.links]
    for link, _ in one.links:
        link["reference"] = ""
    said = _hash(_canonical.encode(one.body))
    for (link, _), reference in zip(one.links, written, strict=True):
        link["reference"] = reference
    return said


def _provenance(source: FhirSource, names: list[str]) -> Json:
    clinic = {"system": CLINIC_SYSTEM, "value": source.issuer}
    record = {"system": RECORD_SYSTEM, "value": source.token}
    who = {"identifier": clinic} | ({"display": source.issuer_name} if source.issuer_name else {})
    what = {"identifier": record} | ({"display": source.title} if source.title else {})
    return {
        "resourceType": "Provenance",
        "target": [{"reference": name} for name in names],
        "recorded": source.issued,
        "agent": [{"type": AUTHOR, "who": who}],
        "entity": [{"role": "source", "what": what}],
    }


def _name(label: bytes) -> str:
    """A UUID of the version for names of one's own making (RFC 9562, section 5.8)."""
    octets = bytearray(label[:16])
    octets[6], octets[8] = octets[6] & 0x0F | 0x80, octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return "urn:uuid:" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _hash(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
