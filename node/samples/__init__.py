"""The demo's sample records: published test records, with their origin and licences beside them.

`ORIGIN.md` names the package, the path inside it and the hash of each.
"""

import gzip
from dataclasses import dataclass
from importlib import resources

from protocol.records import RecordType


@dataclass(frozen=True, slots=True)
class Sample:
    """A record as its publisher wrote it: file name, type, the original bytes, a title for people."""

    name: str
    type: RecordType
    bytes: bytes
    title: str


def open_samples() -> tuple[Sample, ...]:
    """A FHIR bundle of 556 resources (1 MB) and a CT image (39 kB), in this order.

    Raises:
        OSError: the installation lost its files, or they are damaged.
    """
    folder = resources.files(__name__)
    # gzip rather than a denser format: a Python that can run pip can always unpack it.
    bundle = gzip.decompress(folder.joinpath("synthea-bundle.json.gz").read_bytes())
    image = folder.joinpath("ct-small.dcm").read_bytes()
    return (
        Sample("synthea-bundle.json", RecordType.FHIR, bundle, "FHIR R4 bundle of one invented patient"),
        Sample("ct-small.dcm", RecordType.DICOM, image, "CT image, 128 × 128 pixels"),
    )
