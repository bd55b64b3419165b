"""What every request is made of: its base, and the fields that several have, each with its limit.

Ids are lower-case hex and may be any unique prefix of at least six characters. A clinic is given by
its name or such a prefix. Times are Unix milliseconds, durations milliseconds.
"""

from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from protocol import limits
from protocol.control.results import Document

R = TypeVar("R", bound=Document)

ID_PREFIX_CHARS_MIN = 6

Id = Annotated[str, Meta(pattern="^[0-9a-f]+$", min_length=ID_PREFIX_CHARS_MIN, max_length=66)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.CONTROL_NAME_CHARS_MAX)]
PersonName = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
EarlierBytes = Annotated[int, Meta(ge=0, le=limits.RECORD_BYTES_MAX, multiple_of=limits.PIECE_BYTES)]
StudyPath = Annotated[str, Meta(min_length=1, max_length=limits.STUDY_PATH_CHARS_MAX)]
User = Annotated[str, Meta(min_length=1, max_length=limits.USER_CHARS_MAX)]
Purpose = Annotated[str, Meta(pattern="^[A-Z]+$", max_length=16)]
ReceiveCode = Annotated[str, Meta(min_length=1, max_length=limits.RECEIVE_CODE_CHARS_MAX)]
Invitation = Annotated[str, Meta(min_length=1, max_length=limits.RECEIVE_CODE_CHARS_MAX)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
GrantBodyHex = Annotated[str, Meta(pattern="^([0-9a-f]{2})+$", max_length=2 * limits.GRANT_BODY_BYTES_MAX)]
Words = Annotated[str, Meta(min_length=1, max_length=limits.WORDS_CHARS_MAX)]
Moment = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Duration = Annotated[int, Meta(ge=1, le=limits.GRANT_LIFE_MS_MAX)]
Rows = Annotated[int, Meta(ge=1, le=limits.CONTROL_ROWS_MAX)]
SuspendReason = Literal["contract", "evidence", "key-compromised", "other", "unreachable"]
InvitationLife = Annotated[int, Meta(ge=1, le=limits.INVITATION_LIFE_MS_MAX)]
GiveReason = Literal["estate", "guardian", "majority", "merge"]
RequestKind = Literal["all", "fhir", "dicom", "study", "cda", "hl7v2", "pdf", "image", "other"]
KIND_WORDS: Final[dict[str, str]] = {
    "all": "all records",
    "fhir": "all FHIR records",
    "dicom": "all DICOM images",
    "study": "all DICOM studies",
    "cda": "all CDA documents",
    "hl7v2": "all HL7 messages",
    "pdf": "all PDF documents",
    "image": "all pictures",
    "other": "all records without a known type",
}
"""What a RequestKind asks for, as the rest of a sentence."""

RecordType = Literal["auto", "fhir", "dicom", "cda", "hl7v2", "pdf", "image", "other"]


class Ask(
    msgspec.Struct, Generic[R], frozen=True, kw_only=True, tag_field="request", forbid_unknown_fields=True
):
    """A request that is answered by an `R`."""
