"""Pictures have the shades that DICOM says, and what cannot be drawn is told plainly."""

import io
import zlib
from contextlib import suppress
from typing import Any

import pytest

from node.parsers.findings import Damaged, Unchecked
from node.parsers.narrative import read_narrative
from node.parsers.pictures import draw_dicom
from node.samples import open_samples
from protocol import limits
from tests.dicom_world import SIDE, dicom, disc
from tests.unit.test_parsers import CDA

BIG_ENDIAN = "1.2.840.10008.1.2.2"
MIDDLE, CORNER = SIDE * SIDE // 2 + SIDE // 2, 0


def shades(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and samples of a picture with no filters, read by the letter of the format."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, width, height, channels = 8, b"", 0, 0, 1
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        assert int.from_bytes(png[at + 8 + length : at + 12 + length], "big") == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            channels = 3 if body[9] == 2 else 1
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, line = zlib.decompress(packed), width * channels + 1
    assert raw[::line] == bytes(height)
    return width, height, b"".join(raw[row * line + 1 : (row + 1) * line] for row in range(height))


def drawn(raw: bytes) -> bytes:
    return shades(draw_dicom(io.BytesIO(raw)))[2]


def flat(value: int, **fields: Any) -> int:
    """The shade of an image that is one value all over."""
    pixels = (value & 0xFFFF).to_bytes(2, "little") * (SIDE * SIDE)
    return drawn(dicom(pixels=pixels, **fields))[0]


def test_a_bright_disc_is_bright_within_and_dark_without() -> None:
    width, height, samples = shades(draw_dicom(io.BytesIO(dicom())))
    assert (width, height) == (SIDE, SIDE)
    assert (samples[MIDDLE], samples[CORNER]) == (255, 0)


def test_monochrome_1_is_the_other_way_round() -> None:
    samples = drawn(dicom(PhotometricInterpretation="MONOCHROME1"))
    assert (samples[MIDDLE], samples[CORNER]) == (0, 255)


@pytest.mark.parametrize(("value", "shade"), [(899, 0), (900, 0), (1000, 128), (1099, 255), (1100, 255)])
def test_the_window_decides_what_is_black_and_white(value: int, shade: int) -> None:
    # PS3.3, C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) times the range.
    assert abs(flat(value) - shade) <= 1


def test_values_are_rescaled_and_signed_before_the_window_counts() -> None:
    window = {"WindowCenter": [0, 5], "WindowWidth": [200, 9], "RescaleSlope": 2, "RescaleIntercept": -100}
    assert abs(flat(50, **window) - 128) <= 1
    assert flat(-60, PixelRepresentation=1, WindowCenter=0, WindowWidth=100) == 0
    assert flat(60, PixelRepresentation=1, WindowCenter=0, WindowWidth=100) == 255
    assert flat(0xF7FF, BitsStored=12, HighBit=11, WindowCenter=0x400, WindowWidth=0x200) == 255


def test_without_a_window_the_darkest_and_the_brightest_make_one() -> None:
    samples = drawn(dicom(WindowCenter=None, WindowWidth=None))
    assert (samples[MIDDLE], samples[CORNER]) == (255, 0)


def test_eight_bits_and_the_other_byte_order_are_read() -> None:
    eight = dicom(
        pixels=bytes(range(SIDE)) * SIDE,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        WindowCenter=16,
        WindowWidth=33,
    )
    assert list(drawn(eight)[:SIDE]) == sorted(drawn(eight)[:SIDE])
    assert drawn(eight)[SIDE - 1] > 200
    swapped = b"".join(disc()[at : at + 2][::-1] for at in range(0, len(disc()), 2))
    assert drawn(dicom(pixels=swapped, TransferSyntaxUID=BIG_ENDIAN)) == drawn(dicom())


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_stay_what_they_are(planar: int) -> None:
    red, green, blue = b"\xff\x10\x20" * 512, b"\x01\xff\x02" * 256, b"\x03\x04\xff" * 256
    samples = red + green + blue
    pixels = b"".join(samples[at::3] for at in range(3)) if planar else samples
    raw = dicom(
        pixels=pixels,
        PhotometricInterpretation="RGB",
        SamplesPerPixel=3,
        PlanarConfiguration=planar,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    assert drawn(raw) == samples


def test_a_large_image_is_drawn_smaller_and_the_first_of_many_frames_alone() -> None:
    side = limits.PICTURE_SIDE_MAX + 1
    large = dicom(pixels=bytes(2 * side * side), Rows=side, Columns=side)
    assert shades(draw_dicom(io.BytesIO(large)))[:2] == (513, 513)
    many = dicom(pixels=disc() + bytes(len(disc())), NumberOfFrames=2)
    assert drawn(many) == drawn(dicom())


def test_a_published_image_is_drawn() -> None:
    width, height, samples = shades(draw_dicom(io.BytesIO(open_samples()[1].bytes)))
    assert (width, height) == (128, 128)
    assert len(set(samples)) > 50


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.90"}, "compressed (JPEG 2000"),
        ({"TransferSyntaxUID": "1.2.3.4"}, "compressed"),
        ({"PixelData": None}, "no image"),
        ({"PixelData": bytes(9) + b"\0"}, "pixels are missing"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"BitsAllocated": 32, "PixelData": bytes(4 * SIDE * SIDE)}, "32 bits"),
        ({"Rows": 65_535, "Columns": 65_535}, "65535 rows"),
        ({"Rows": 0}, "0 rows"),
        ({"BitsStored": 40}, "more bits"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_the_reason(fields: dict[str, Any], why: str) -> None:
    syntax = fields.get("TransferSyntaxUID")
    raw = dicom(**{name: value for name, value in fields.items() if name != "TransferSyntaxUID"})
    if syntax is not None:
        padded = (syntax + "\0" * (len(syntax) % 2)).encode()
        old = b"UI\x14\x001.2.840.10008.1.2.1\x00"
        grown = len(padded) - 0x14
        length = int.from_bytes(raw[140:144], "little") + grown
        raw = raw.replace(old, b"UI" + len(padded).to_bytes(2, "little") + padded)
        raw = raw[:140] + length.to_bytes(4, "little") + raw[144:]
    with pytest.raises(Unchecked) as caught:
        draw_dicom(io.BytesIO(raw))
    assert why in str(caught.value)


def test_no_spoiled_image_does_more_than_fail_to_be_drawn() -> None:
    raw = dicom()
    for at in range(128, 900, 11):
        for spoiled in (raw[:at], raw[:at] + b"\xff" + raw[at + 1 :], raw[:at] + b"\x00" + raw[at + 1 :]):
            with suppress(Unchecked):
                draw_dicom(io.BytesIO(spoiled))


NARRATIVE = b"""<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Summary &lt;b&gt;</title>
<component><structuredBody><component><section><title>Allergies</title><text>
 <table><thead><tr><th>What</th><th>How bad</th></tr></thead>
 <tbody><tr><td>Penicillin</td><td><content styleCode="Bold">severe</content></td></tr></tbody></table>
 <paragraph>No   others<br/>known.</paragraph></text>
 <entry><act><text>not for people</text></act></entry>
 <component><section><title>Within</title><text>Inner</text></section></component>
</section></component>
<component><section><title>Empty</title><text/></section></component></structuredBody></component>
</ClinicalDocument>"""


def test_a_narrative_is_its_titles_and_lines_as_plain_text() -> None:
    found = read_narrative(io.BytesIO(NARRATIVE))
    assert found.title == "Summary <b>"
    assert [(one.title, one.lines) for one in found.sections] == [
        ("Allergies", ("What | How bad", "Penicillin | severe", "No others", "known.")),
        ("Within", ("Inner",)),
        ("Empty", ()),
    ]
    assert not found.is_cut


def test_a_narrative_beyond_the_limits_is_cut_and_says_so() -> None:
    long = NARRATIVE.replace(
        b"Inner", b"x" * (limits.NARRATIVE_CHARS_MAX + 1) + b"<paragraph>more</paragraph>"
    )
    assert read_narrative(io.BytesIO(long)).is_cut
    section = b"<component><section><title>One</title><text>a</text></section></component>"
    many = NARRATIVE.replace(
        b"<structuredBody>", b"<structuredBody>" + section * limits.NARRATIVE_SECTIONS_MAX
    )
    found = read_narrative(io.BytesIO(many))
    assert (len(found.sections), found.is_cut) == (limits.NARRATIVE_SECTIONS_MAX, True)


def test_a_document_that_is_cut_or_declares_a_type_is_not_read_out() -> None:
    for spoiled in (NARRATIVE[:-9], b"<!DOCTYPE x>" + NARRATIVE):
        with pytest.raises(Damaged):
            read_narrative(io.BytesIO(spoiled))
    assert read_narrative(io.BytesIO(CDA)).sections == ()
