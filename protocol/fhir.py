"""What a FHIR R4 bundle says, for a person to read: a few lines for each section of an International
Patient Summary (http://hl7.org/fhir/uv/ips).

Only what is named here is looked at; it is text, never markup, and numbers keep the digits that were
written. A resource that is not as FHIR has it is counted and left out. The original stays the record:
nothing here decides about anything.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from protocol.errors import Malformed
from protocol.limits import FHIR_BYTES_MAX, FHIR_ENTRIES_MAX, FHIR_TEXT_CHARS_MAX

T = TypeVar("T")

_NUMBER_CHARS: Final = frozenset(b"0123456789+-.eE")
_NUMBER_CHARS_MAX: Final = 40
_TIME_CHARS_MAX: Final = 40
_PARTS_MAX: Final = 20
_SELF_EVIDENT: Final = ("confirmed",)


class Line(msgspec.Struct, frozen=True):
    """`what` it is about, what there is to say, its state in FHIR's words, and the time as written."""

    what: str
    detail: str = ""
    state: str = ""
    when: str = ""


class Section(msgspec.Struct, frozen=True):
    """Lines of one kind, the newest first."""

    title: str
    lines: tuple[Line, ...]


class Reading(msgspec.Struct, frozen=True):
    """`about` is the patient as the bundle has it, `others` are resources of kinds that are not shown,
    `unclear` those that are not as FHIR has them."""

    about: str
    sections: tuple[Section, ...]
    others: int
    unclear: int


class _Coding(msgspec.Struct, frozen=True):
    display: str = ""
    code: str = ""


class _Concept(msgspec.Struct, frozen=True):
    text: str = ""
    coding: list[_Coding] = []


class _Period(msgspec.Struct, frozen=True):
    start: str = ""


class _Quantity(msgspec.Struct, frozen=True):
    value: msgspec.Raw = msgspec.Raw(b"")
    unit: str = ""
    comparator: str = ""


class _Reference(msgspec.Struct, frozen=True):
    reference: str = ""
    display: str = ""


class _Dosage(msgspec.Struct, frozen=True):
    text: str = ""


class _Reaction(msgspec.Struct, frozen=True):
    manifestation: list[_Concept] = []


class _Name(msgspec.Struct, frozen=True):
    text: str = ""
    family: str = ""
    given: list[str] = []


class _Value(msgspec.Struct, frozen=True, rename="camel"):
    """The value of a result, in those of its forms that are read here."""

    code: _Concept = _Concept()
    value_quantity: _Quantity | None = None
    value_codeable_concept: _Concept | None = None
    value_string: str = ""
    value_integer: int | None = None
    value_boolean: bool | None = None


class _Resource(_Value, frozen=True, rename="camel"):
    """The fields that are read, of all kinds together."""

    id: str = ""
    status: str = ""
    clinical_status: _Concept = _Concept()
    verification_status: _Concept = _Concept()
    criticality: str = ""
    reaction: list[_Reaction] = []
    medication_codeable_concept: _Concept = _Concept()
    medication_reference: _Reference = _Reference()
    dosage_instruction: list[_Dosage] = []
    dosage: list[_Dosage] = []
    vaccine_code: _Concept = _Concept()
    type: _Concept | list[_Concept] = []
    reason_code: list[_Concept] = []
    component: list[_Value] = []
    interpretation: list[_Concept] = []
    description: str = ""
    conclusion: str = ""
    name: list[_Name] = []
    birth_date: str = ""
    onset_date_time: str = ""
    recorded_date: str = ""
    authored_on: str = ""
    effective_date_time: str = ""
    effective_period: _Period = _Period()
    occurrence_date_time: str = ""
    performed_date_time: str = ""
    performed_period: _Period = _Period()
    period: _Period = _Period()
    date: str = ""


class _Kind(msgspec.Struct, frozen=True, rename="camel"):
    resource_type: str
    id: str = ""


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    full_url: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"{}")


class _Bundle(msgspec.Struct, frozen=True):
    entry: list[_Entry] = []


Medicines = Mapping[str, _Concept]


def read_bundle(raw: bytes) -> Reading:
    """What a bundle, or a single resource, says.

    Raises:
        Malformed: it is no JSON, no resource of FHIR, or beyond the limits.
    """
    if len(raw) > FHIR_BYTES_MAX:
        raise Malformed("longer than a bundle that is read here")
    entries = _entries(raw)
    kinds = [_decoded(one.resource, _Kind) for one in entries]
    medicines = _medicines(entries, kinds)
    lines: dict[str, list[Line]] = {title: [] for title, _, _ in SECTIONS}
    about, others, unclear = "", 0, 0
    for entry, kind in zip(entries, kinds, strict=True):
        found = None if kind is None else SHOWN.get(kind.resource_type)
        if kind is None:
            unclear += 1
        elif found is None and kind.resource_type != "Patient":
            others += 1
        elif (resource := _decoded(entry.resource, _Resource)) is None:
            unclear += 1
        elif found is None:
            about = about or _patient(resource)
        else:
            title, tell = found
            lines[title].append(tell(resource, medicines))
    sections = tuple(
        Section(title, tuple(sorted(some, key=lambda one: one.when, reverse=True)))
        for title, some in lines.items()
        if some
    )
    return Reading(about, sections, others, unclear)


def _entries(raw: bytes) -> list[_Entry]:
    kind = _decoded(raw, _Kind)
    if kind is None:
        raise Malformed("no resource of FHIR in JSON")
    if kind.resource_type != "Bundle":
        return [_Entry(resource=msgspec.Raw(raw))]
    bundle = _decoded(raw, _Bundle)
    if bundle is None:
        raise Malformed("a bundle whose entries are none")
    if len(bundle.entry) > FHIR_ENTRIES_MAX:
        raise Malformed("more entries than are read here")
    return bundle.entry


def _decoded(raw: bytes | msgspec.Raw, form: type[T]) -> T | None:
    """None where it is not of this form."""
    try:
        return msgspec.json.decode(raw, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _medicines(entries: list[_Entry], kinds: list[_Kind | None]) -> Medicines:
    """The medicines that other resources of the bundle refer to, by what they are referred to."""
    found: dict[str, _Concept] = {}
    for entry, kind in zip(entries, kinds, strict=True):
        if kind is None or kind.resource_type != "Medication":
            continue
        medicine = _decoded(entry.resource, _Resource)
        if medicine is not None:
            found[entry.full_url] = found[f"Medication/{kind.id}"] = medicine.code
    return found


def _patient(one: _Resource) -> str:
    name = one.name[0] if one.name else _Name()
    return _listed([name.text or " ".join([*name.given[:_PARTS_MAX], name.family]).strip(), one.birth_date])


def _problem(one: _Resource, _: Medicines) -> Line:
    return Line(_named(one.code), state=_state(one), when=_time(one.onset_date_time, one.recorded_date))


def _allergy(one: _Resource, _: Medicines) -> Line:
    felt = [each for reaction in one.reaction[:_PARTS_MAX] for each in reaction.manifestation[:_PARTS_MAX]]
    detail = _listed([f"{one.criticality} risk" if one.criticality else "", *map(_said, felt)])
    return Line(_named(one.code), detail, _state(one), _time(one.onset_date_time, one.recorded_date))


def _medicine(one: _Resource, medicines: Medicines) -> Line:
    referred = one.medication_reference
    concept = medicines.get(referred.reference, one.medication_codeable_concept)
    what = _said(concept) or _cut(referred.display) or _named(one.code)
    taken = [dosage.text for dosage in (one.dosage_instruction or one.dosage)[:_PARTS_MAX]]
    when = _time(one.authored_on, one.effective_date_time, one.effective_period.start)
    return Line(what, _listed(taken), _state(one), when)


def _vaccination(one: _Resource, _: Medicines) -> Line:
    return Line(_named(one.vaccine_code), state=_state(one), when=_time(one.occurrence_date_time))


def _result(one: _Resource, _: Medicines) -> Line:
    parts = [f"{_named(part.code)} {_value(part)}" for part in one.component[:_PARTS_MAX]]
    detail = _listed([_value(one), *parts, *map(_said, one.interpretation[:_PARTS_MAX])])
    when = _time(one.effective_date_time, one.effective_period.start)
    return Line(_named(one.code), detail, _state(one), when)


def _procedure(one: _Resource, _: Medicines) -> Line:
    when = _time(one.performed_date_time, one.performed_period.start)
    return Line(_named(one.code), state=_state(one), when=when)


def _visit(one: _Resource, _: Medicines) -> Line:
    types = one.type if isinstance(one.type, list) else [one.type]
    what = _listed([_said(each) for each in types[:_PARTS_MAX]]) or "Visit"
    reasons = _listed([_said(each) for each in one.reason_code[:_PARTS_MAX]])
    return Line(what, reasons, _state(one), _time(one.period.start))


def _document(one: _Resource, _: Medicines) -> Line:
    types = one.type if isinstance(one.type, list) else [one.type]
    what = _cut(one.description) or _listed([_said(each) for each in types[:1]]) or _named(one.code)
    return Line(what, _cut(one.conclusion), _state(one), _time(one.date, one.effective_date_time))


def _value(one: _Value) -> str:
    if one.value_quantity is not None:
        quantity, written = one.value_quantity, bytes(one.value_quantity.value)
        if len(written) > _NUMBER_CHARS_MAX or not _NUMBER_CHARS.issuperset(written):
            return "a value that is no number"
        return _cut(f"{quantity.comparator} {written.decode()} {quantity.unit}".strip())
    if one.value_codeable_concept is not None:
        return _said(one.value_codeable_concept)
    if one.value_integer is not None:
        return str(one.value_integer)
    if one.value_boolean is not None:
        return "yes" if one.value_boolean else "no"
    return _cut(one.value_string)


def _state(one: _Resource) -> str:
    verified = _code(one.verification_status)
    states = [one.status, _code(one.clinical_status), verified if verified not in _SELF_EVIDENT else ""]
    return _listed([state.replace("-", " ") for state in states])


def _time(*written: str) -> str:
    """The first that there is."""
    return next((one for one in written if one), "")[:_TIME_CHARS_MAX]


def _code(concept: _Concept) -> str:
    return concept.coding[0].code if concept.coding else concept.text


def _said(concept: _Concept) -> str:
    """What a concept is called, or its code."""
    if concept.text:
        return _cut(concept.text)
    return _cut(next((one.display or one.code for one in concept.coding if one.display or one.code), ""))


def _named(concept: _Concept) -> str:
    return _said(concept) or "Something without a name"


def _listed(parts: list[str]) -> str:
    return _cut(", ".join(part for part in parts if part))


def _cut(text: str) -> str:
    return text if len(text) <= FHIR_TEXT_CHARS_MAX else text[: FHIR_TEXT_CHARS_MAX - 1] + "…"


Tell = Callable[[_Resource, Medicines], Line]

# In the order of a patient summary: what one must not overlook comes first.
SECTIONS: Final[tuple[tuple[str, tuple[str, ...], Tell], ...]] = (
    ("Allergies", ("AllergyIntolerance",), _allergy),
    ("Medicines", ("MedicationRequest", "MedicationStatement"), _medicine),
    ("Problems", ("Condition",), _problem),
    ("Vaccinations", ("Immunization",), _vaccination),
    ("Results", ("Observation",), _result),
    ("Procedures", ("Procedure",), _procedure),
    ("Visits", ("Encounter",), _visit),
    ("Documents", ("DocumentReference", "DiagnosticReport"), _document),
)
SHOWN: Final[dict[str, tuple[str, Tell]]] = {
    kind: (title, tell) for title, kinds, tell in SECTIONS for kind in kinds
}
