"""An image shows its picture and a document its text, made by a program with limits of its own."""

import re
import zlib
from base64 import b64decode
from hashlib import sha256
from typing import Any

import pytest

from node.exchange import Exchange
from node.web.looking import NotShown, Viewer
from protocol import control, limits
from protocol.study import StudyFile, decode_head, encode_head, head_length
from tests.contract.test_page_reading import PATH, answers
from tests.control_world import Answer
from tests.dicom_world import dicom, disc
from tests.page_world import TOKEN, open_world
from tests.unit.test_parsers import DEFLATED
from tests.unit.test_pictures import MIDDLE, NARRATIVE, shades


async def shown(content: bytes, **changes: Any) -> str:
    """The page that a record becomes."""
    async with open_world(answers(content, size=len(content), **changes)) as world:
        await world.enter()
        assert f'href="{world.root}{PATH}"' in (await world.get(f"/records/{TOKEN}")).text
        answer = await world.get(PATH)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert f'href="{world.root}/records/{TOKEN}/original"' in answer.text
        return answer.text


async def test_an_image_shows_its_picture() -> None:
    text = await shown(dicom(), type="dicom")
    [picture] = re.findall(r'src="data:image/png;base64,([\w+/=]+)"', text)
    _, _, samples = shades(b64decode(picture))
    assert (samples[MIDDLE], samples[0]) == (255, 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (dicom(PhotometricInterpretation="PALETTE COLOR"), "its pixels are PALETTE COLOR of 16 bits"),
        (dicom()[:-40], "pixels are missing"),
        (b"nothing of DICOM", "it holds no image"),
    ],
)
async def test_an_image_that_cannot_be_drawn_says_so_and_why(content: bytes, why: str) -> None:
    text = await shown(content, type="dicom")
    assert "<img" not in text
    assert f"cannot be shown here: {why}." in text


async def test_a_document_is_its_text_and_never_its_markup() -> None:
    text = await shown(NARRATIVE, type="cda")
    assert "Penicillin | severe" in text
    assert "Summary &lt;b&gt;" in text
    assert "<h2>Allergies</h2>" in text
    assert "not for people" not in text
    spoiled = await shown(NARRATIVE.replace(b"Inner", b"&who;"), type="cda")
    assert "cannot be read out here: it is no whole XML" in spoiled


async def test_what_swells_beyond_all_bounds_ends_its_own_program_and_no_other() -> None:
    made = dicom(TransferSyntaxUID=DEFLATED)
    head = made[: 144 + int.from_bytes(made[140:144], "little")]
    bomb = zlib.compressobj(1, wbits=-15)
    swollen = b"".join(
        bomb.compress(bytes(limits.MIB)) for _ in range(limits.PARSER_BYTES_MAX // limits.MIB)
    )
    viewer = Viewer()
    with pytest.raises(NotShown, match=r"too large|more time or memory"):
        await viewer.picture(head + swollen + bomb.flush())
    assert await viewer.picture(dicom(pixels=disc()))


def study(count: int, **spoiled: bytes) -> bytes:
    """A study of that many images and a letter, as one record; what is spoiled is changed after that."""
    files = {f"IM{number:02}": dicom(number) for number in range(count)} | {"letter.txt": b"words"}
    head = encode_head(
        [
            StudyFile(path, len(raw), sha256(raw).digest(), "", path if path != "letter.txt" else "", "CT")
            for path, raw in files.items()
        ]
    )
    return head + b"".join((files | spoiled)[path] for path in sorted(files))


async def test_a_study_shows_its_images_page_by_page_and_what_else_is_in_it() -> None:
    count = limits.STUDY_PICTURES_SHOWN + 1
    content = study(count)
    text = await shown(content, type="study")
    assert text.count("<img") == limits.STUDY_PICTURES_SHOWN
    assert f"Images 1 to {limits.STUDY_PICTURES_SHOWN} of {count}" in text
    assert "letter.txt" in text
    async with open_world(answers(content, size=len(content), type="study")) as world:
        await world.enter()
        later = (await world.get(f"{PATH}?first={limits.STUDY_PICTURES_SHOWN}")).text
        assert later.count("<img") == 1
        assert f"IM{count - 1:02} · CT" in later
        assert f'{PATH}?first=0"' in later
        for wrong in ("-1", "999", "x", "²"):
            assert "Images 1 to" in (await world.get(f"{PATH}?first={wrong}")).text


async def test_an_image_that_is_not_the_indexed_one_is_not_drawn() -> None:
    text = await shown(study(2, IM01=dicom(7)), type="study")
    assert text.count("<img") == 1
    assert "not the file that the study&#39;s index names" in text
    assert "not a study as it says" in await shown(b"x" * 40, type="study")


LARGE = {"type": "study", "size": limits.LOOK_BYTES_MAX + 1}


def parts(content: bytes, asked: list[control.MyRecord]) -> dict[type, Answer | control.Document]:
    """A patient with one large study, of which a part is given, as a light client would."""

    async def send(request: control.MyRecord, exchange: Exchange) -> control.Document:
        asked.append(request)
        head = content[: head_length(content)]
        part = head
        if request.file is not None:
            file, start = decode_head(head).find(request.file)
            part = content[start : start + file.length]
        await exchange.write_data(part)
        return control.RecordGetResult(token=TOKEN, bytes=len(part), sha256="", audit_id="")

    return answers(content, **LARGE) | {control.MyRecord: send}


async def test_of_a_large_study_the_index_is_shown_and_an_image_fetched_alone() -> None:
    asked: list[control.MyRecord] = []
    async with open_world(parts(study(3), asked)) as world:
        await world.enter()
        assert f'href="{world.root}{PATH}"' in (await world.get(f"/records/{TOKEN}")).text
        listed = (await world.get(PATH)).text
        assert "<img" not in listed
        assert "Images 1 to 3 of 3" in listed
        assert f'href="{world.root}{PATH}?file=IM01"' in listed
        assert f'href="{world.root}/records/{TOKEN}/original?file=letter.txt"' in listed
        image = (await world.get(f"{PATH}?file=IM01")).text
        assert image.count("<img") == 1
        assert f'href="{world.root}/records/{TOKEN}/original?file=IM01"' in image
        letter = await world.get(f"/records/{TOKEN}/original?file=letter.txt")
        assert letter.content == b"words"
        assert "letter.txt" in letter.headers["content-disposition"]
    assert [(one.file, one.is_index) for one in asked] == [
        (None, True),
        ("IM01", False),
        ("letter.txt", False),
    ]


async def test_names_of_files_in_a_study_are_text_in_pages_and_addresses() -> None:
    name = "a&b#c'd.dcm"
    raw = dicom()
    content = encode_head([StudyFile(name, len(raw), sha256(raw).digest(), "", "1", "CT")])
    async with open_world(parts(content + raw, [])) as world:
        await world.enter()
        listed = (await world.get(PATH)).text
        assert "a&amp;b#c&#39;d.dcm" in listed
        assert f'href="{world.root}{PATH}?file=a%26b%23c%27d.dcm"' in listed
        assert "<img" in (await world.get(f"{PATH}?file=a%26b%23c%27d.dcm")).text


async def test_a_large_record_that_is_no_study_after_all_says_so() -> None:
    async def send(_: control.MyRecord, exchange: Exchange) -> control.Document:
        await exchange.write_data(b"x" * 40)
        return control.RecordGetResult(token=TOKEN, bytes=40, sha256="", audit_id="")

    async with open_world(answers(b"", **LARGE) | {control.MyRecord: send}) as world:
        await world.enter()
        assert "not a study as it says" in (await world.get(PATH)).text


async def test_more_images_than_a_page_lists_are_on_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STUDY_IMAGES_LISTED", 2)
    async with open_world(parts(study(3), [])) as world:
        await world.enter()
        first = (await world.get(PATH)).text
        assert "Images 1 to 2 of 3" in first
        assert f'{PATH}?first=2"' in first
        later = (await world.get(f"{PATH}?first=2")).text
        assert "Images 3 to 3 of 3" in later
        assert f'{PATH}?first=0"' in later
