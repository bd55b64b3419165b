"""The commands against a scripted daemon over a real socket: documents, exit statuses, files."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from cli import launch
from cli.main import run
from cli.settings import Place
from node.exchange import Exchange
from protocol import control
from protocol.errors import ChartmeshError, Code, Refused, UserError
from tests.control_samples import REQUEST, RESULTS
from tests.control_world import STATUS, serving

TOKEN = "ab" * 32
GRANT = "cd" * 32
CONTENT = bytes(range(256)) * 1000
RESULT = control.RecordGetResult(
    token=TOKEN,
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    audit_id="a-7",
    name="../scan.dcm",
)
Run = Callable[..., Any]


class Printed:
    """What one run of the command line left."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])


@pytest.fixture
def chartmesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command against the node in `tmp_path`, in a thread, as its program would."""

    async def command(*arguments: str) -> Printed:
        line = ["--data-dir", str(tmp_path), *arguments]
        status = await trio.to_thread.run_sync(run, line)
        return Printed(status, *capsys.readouterr())

    return command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in paths:
        path.write_bytes(CONTENT)
    return [str(path) for path in paths]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def place(folder: Path) -> Place:
    return Place(folder, folder / control.SOCKET_NAME)


def adding(*, fail_from: int = 99, final: bool = True) -> Callable[..., Any]:
    count = 0

    async def add(request: control.RecordAdd, exchange: Exchange) -> control.Document:
        nonlocal count
        count += 1
        if count >= fail_from:
            raise UserError("the code is used up", "ask for another", code=Code.RECEIVE_CODE)
        size = sum([len(piece) async for piece in exchange.read_data()])
        added = control.RecordAdded(
            file=request.name, token=TOKEN, size=size, type="fhir", copies=3, final=final, height=4
        )
        return control.RecordAddResult(records=(added,))

    return add


def getting(
    result: control.RecordGetResult = RESULT, error: ChartmeshError | None = None
) -> Callable[..., Any]:
    async def get(_: Any, exchange: Exchange) -> control.Document:
        await exchange.write_data(CONTENT)
        if error is not None:
            raise error
        return result

    return get


async def test_several_files_are_added_in_one_document(
    tmp_path: Path, chartmesh: Run, files: list[str]
) -> None:
    async with serving(tmp_path, {control.RecordAdd: adding()}) as script:
        printed = await chartmesh("record", "add", "--for", " CM1X ", "--type", "other", "--json", *files)
    assert printed.status == 0
    assert printed.err == ""
    (document,) = printed.documents
    assert document["v"] == 1
    assert [record["file"] for record in document["records"]] == ["one.json", "two.json"]
    wanted = {"file", "token", "size", "type", "copies", "final", "height"}
    assert all(wanted <= set(record) for record in document["records"])
    assert [getattr(request, "code", None) for request in script.asked] == ["CM1X", "CM1X"]


async def test_files_added_before_a_failure_are_told_and_the_status_is_3(
    tmp_path: Path, chartmesh: Run, files: list[str]
) -> None:
    async with serving(tmp_path, {control.RecordAdd: adding(fail_from=2)}):
        printed = await chartmesh("record", "add", "--for", "C", "--json", *files)
    assert printed.status == 3
    assert len(printed.documents[0]["records"]) == 1
    assert printed.error["code"] == "partial"
    assert "used up" in printed.error["error"]


async def test_the_first_failure_is_told_as_it_is(tmp_path: Path, chartmesh: Run, files: list[str]) -> None:
    async with serving(tmp_path, {control.RecordAdd: adding(fail_from=1)}):
        printed = await chartmesh("record", "add", "--for", "C", "--json", *files)
    assert (printed.status, printed.out, printed.error["code"]) == (1, "", "receive-code")


async def test_a_record_accepted_but_not_final_is_5(
    tmp_path: Path, chartmesh: Run, files: list[str]
) -> None:
    async with serving(tmp_path, {control.RecordAdd: adding(final=False)}):
        assert (await chartmesh("record", "add", "--for", "C", files[0])).status == 5


async def test_a_missing_file_among_several_stops_all_before_any_is_sent(
    tmp_path: Path, chartmesh: Run, files: list[str]
) -> None:
    async with serving(tmp_path, {control.RecordAdd: adding()}) as script:
        printed = await chartmesh("record", "add", "--for", "C", *files, str(tmp_path / "typo"))
    assert printed.status == 1
    assert script.asked == []


async def test_a_record_is_saved_under_a_harmless_name(
    tmp_path: Path, chartmesh: Run, target: Path
) -> None:
    get = ("record", "get", "--purpose", "treatment", "--as", "dr.b", "-o", str(target), "--json", TOKEN)
    async with serving(tmp_path, {control.RecordGet: getting()}) as script:
        printed = await chartmesh(*get)
        again = await chartmesh(*get)
    path = target / "abababababab-scan.dcm"
    assert (printed.status, again.status) == (0, 0)
    assert os.listdir(target) == [path.name]
    assert path.read_bytes() == CONTENT
    (document,) = printed.documents
    assert {"v", "token", "bytes", "sha256", "audit_id", "path"} <= set(document)
    assert document["path"] == str(path)
    assert script.asked[0] == control.RecordGet(id=TOKEN, purpose="TREAT", user="dr.b")


async def test_a_named_file_gets_the_record(tmp_path: Path, chartmesh: Run, target: Path) -> None:
    async with serving(tmp_path, {control.MyRecord: getting()}):
        printed = await chartmesh("my", "record", TOKEN, "-o", str(target / "mine"))
    assert printed.status == 0
    assert (target / "mine").read_bytes() == CONTENT


async def test_the_standard_output_gets_the_bytes_alone(tmp_path: Path) -> None:
    program = [sys.executable, "-P", "-m", "cli.main", "record", "get", "--purpose", "TREAT", "-o", "-"]
    program += ["--data-dir", str(tmp_path), TOKEN]
    async with serving(tmp_path, {control.RecordGet: getting()}):
        done = await trio.run_process(program, capture_stdout=True, capture_stderr=True)
    assert done.stdout == CONTENT
    assert b"verified" in done.stderr


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (getting(error=Refused()), 4),
        (getting(replace(RESULT, sha256="00" * 32)), 1),
        (getting(replace(RESULT, bytes=1)), 1),
    ],
    ids=["refused", "other-bytes", "other-length"],
)
async def test_a_record_that_did_not_come_whole_leaves_nothing(
    tmp_path: Path, chartmesh: Run, target: Path, answer: Callable[..., Any], status: int
) -> None:
    async with serving(tmp_path, {control.RecordGet: answer}):
        printed = await chartmesh("record", "get", "--purpose", "TREAT", "-o", str(target), TOKEN)
    assert printed.status == status
    assert os.listdir(target) == []


async def test_a_grant_body_can_be_presented_for_diagnosis(
    tmp_path: Path, chartmesh: Run, target: Path
) -> None:
    body = tmp_path / "body"
    body.write_text("00FF\n")
    get = ("record", "get", "--purpose", "TREAT", "-o", str(target), TOKEN, "--grant", str(body))
    async with serving(tmp_path, {control.RecordGet: getting()}) as script:
        assert (await chartmesh(*get)).status == 0
        body.write_text("no hex")
        assert (await chartmesh(*get)).status == 2
    assert [getattr(request, "grant", None) for request in script.asked] == ["00ff"]


ASKED = control.AccessShowResult(request=REQUEST)
SHARING_ALL = ["my", "share-all", "--with", "b", "--for", "30d", "--kind", "fhir", "--future"]
PREVIEWING = ["my", "share", TOKEN, "--with", "b", "--for", "30d", "--preview", "--at", "60d"]
ASKING = ["access", "ask", "--patient", "CM1ABC", "--records", "all", "--purpose", "TREAT", "--for", "30d"]
CASES = [
    (["status"], control.Status, STATUS, 0),
    (["status"], control.Status, replace(STATUS, fresh=False, final_age_s=None, warnings=("old",)), 7),
    (["peers"], control.Peers, RESULTS[control.PeersResult], 0),
    (["peer", "block", TOKEN, "--for", "2h"], control.PeerBlock, RESULTS[control.PeersResult], 0),
    (["peer", "unblock", TOKEN], control.PeerBlock, RESULTS[control.PeersResult], 0),
    (["network", "members"], control.Members, RESULTS[control.MembersResult], 0),
    (["record", "list"], control.RecordList, RESULTS[control.RecordListResult], 0),
    (["record", "list", "--type", "pdf"], control.RecordList, RESULTS[control.RecordListResult], 0),
    (["record", "show", TOKEN], control.RecordShow, RESULTS[control.RecordShowResult], 0),
    (["access", "list"], control.AccessList, RESULTS[control.AccessListResult], 0),
    (["access", "show", TOKEN], control.AccessShow, RESULTS[control.AccessShowResult], 0),
    (["access", "show", TOKEN], control.AccessShow, ASKED, 0),
    (ASKING, control.AccessAsk, RESULTS[control.AccessAskResult], 0),
    (["audit", "list"], control.AuditList, RESULTS[control.AuditListResult], 0),
    (["audit", "verify"], control.AuditVerify, RESULTS[control.AuditVerifyResult], 13),
    (["audit", "verify"], control.AuditVerify, control.AuditVerifyResult(entries=1, ok=True, head="ff"), 0),
    (["my", "code", "--clinic", "a"], control.MyCode, RESULTS[control.MyCodeResult], 0),
    (["my", "code", "--clinic", "a", "--qr"], control.MyCode, RESULTS[control.MyCodeResult], 0),
    (["my", "records"], control.MyRecords, RESULTS[control.MyRecordsResult], 0),
    (["my", "shares"], control.MyShares, RESULTS[control.MySharesResult], 0),
    (["my", "shares", "--at", "30d"], control.MyPreview, RESULTS[control.MyPreviewResult], 0),
    (SHARING_ALL, control.MyShareKind, RESULTS[control.MyShareKindResult], 0),
    (PREVIEWING, control.MyPreview, RESULTS[control.MyPreviewResult], 0),
    (["my", "stop", GRANT], control.MyStop, RESULTS[control.MyStopResult], 0),
    (["my", "requests"], control.MyRequests, RESULTS[control.MyRequestsResult], 3),
    (["my", "approve", TOKEN], control.MyApprove, RESULTS[control.MyShareResult], 0),
    (["my", "decline", TOKEN], control.MyDecline, RESULTS[control.MyRequestResult], 0),
    (["my", "who"], control.MyWho, RESULTS[control.MyWhoResult], 3),
]


@pytest.mark.parametrize(("arguments", "request_", "result", "status"), CASES)
async def test_every_answer_is_printed_for_people_and_for_scripts(
    tmp_path: Path,
    chartmesh: Run,
    arguments: list[str],
    request_: type,
    result: control.Document,
    status: int,
) -> None:
    async with serving(tmp_path, {request_: result}):
        for_people = await chartmesh(*arguments)
        for_scripts = await chartmesh(*arguments, "--json")
    assert for_people.status == for_scripts.status == status
    assert for_people.out.strip()
    assert not for_people.out.startswith("{")
    assert [document["v"] for document in for_scripts.documents] == [1]


async def test_joining_sends_the_genesis_file(tmp_path: Path, chartmesh: Run) -> None:
    genesis = tmp_path / "genesis"
    genesis.write_text("the file")
    result = RESULTS[control.NetworkJoinResult]
    async with serving(tmp_path, {control.NetworkJoin: result}) as script:
        assert (await chartmesh("network", "join", str(genesis), "--json")).status == 0
    assert script.asked == [control.NetworkJoin(genesis="the file")]


async def test_a_refusal_is_4_and_looks_like_any_other(tmp_path: Path, chartmesh: Run) -> None:
    async def refuse(_: Any, __: Exchange) -> control.Document:
        raise Refused

    async with serving(tmp_path, {control.RecordShow: refuse}):
        printed = await chartmesh("record", "show", TOKEN)
    assert printed.status == 4
    assert printed.err == f"error: {Refused.MESSAGE}\nhint: {Refused.HINT}\n"


async def test_a_daemon_that_dies_while_answering_is_told(tmp_path: Path, chartmesh: Run) -> None:
    listener = await trio.to_thread.run_sync(launchable_listener, tmp_path)

    async def hang_up() -> None:
        stream, _ = await listener.accept()
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        printed = await chartmesh("status", "--json")
    listener.close()
    assert (printed.status, printed.error["code"]) == (6, "not-running")


def launchable_listener(folder: Path) -> Any:
    from node.control.bind import bind_control_socket

    return trio.socket.from_stdlib_socket(bind_control_socket(folder / control.SOCKET_NAME))


async def test_completion_asks_the_node(tmp_path: Path) -> None:
    words = f"chartmesh record show --data-dir {tmp_path} abab"
    asking = {"_CHARTMESH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    environment = os.environ | asking
    program = [sys.executable, "-P", "-m", "cli.main"]
    async with serving(tmp_path, {control.RecordList: RESULTS[control.RecordListResult]}):
        done = await trio.run_process(program, capture_stdout=True, check=False, env=environment)
    assert done.stdout.decode().split() == [f"plain,{TOKEN}"]


# The daemon outlives the program that started it.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
async def test_a_daemon_is_started_looked_at_and_stopped(tmp_path: Path, chartmesh: Run) -> None:
    program = [sys.executable, "-P", "-m", "tests.control_world", str(tmp_path)]
    environment = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.getcwd()
    log = tmp_path / launch.LOG_NAME
    log.touch()
    os.truncate(log, launch.LOG_BYTES_MAX + 1)
    try:
        started = await trio.to_thread.run_sync(launch.run_detached, program, place(tmp_path))
    finally:
        os.environ.pop("PYTHONPATH") if environment is None else os.environ.update(PYTHONPATH=environment)
    assert started == STATUS
    assert (await chartmesh("status")).status == 0
    again = await chartmesh("start", "--json")
    assert (again.status, again.error["code"]) == (11, "already-running")
    stopped = await chartmesh("stop", "--json")
    assert stopped.status == 0
    assert stopped.documents[0]["drained_s"] >= 0
    assert (tmp_path / "last-act").exists()
    assert (await chartmesh("status")).status == 6
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.stat().st_size < launch.LOG_BYTES_MAX
    assert (tmp_path / f"{launch.LOG_NAME}.1").stat().st_size == launch.LOG_BYTES_MAX + 1


@pytest.mark.parametrize(
    ("said", "status", "code", "message"),
    [
        ({"code": "port-in-use", "error": "taken", "hint": "wait"}, 1, Code.PORT_IN_USE, "taken"),
        ({"code": "store-newer", "error": "newer", "hint": "upgrade"}, 14, Code.STORE_NEWER, "newer"),
        (None, 13, Code.STORE_DAMAGED, "status 13"),
        (None, 1, Code.INTERNAL, "status 1"),
    ],
)
def test_a_daemon_that_exits_at_once_gives_its_own_error(
    tmp_path: Path, said: dict[str, str] | None, status: int, code: Code, message: str
) -> None:
    line = "" if said is None else json.dumps({"v": 1, "type": "error", **said})
    script = f"import os, sys; os.write(int(sys.argv[-1]), {line!r}.encode()); sys.exit({status})"
    with pytest.raises(ChartmeshError, match=message) as caught:
        launch.run_detached([sys.executable, "-c", script], place(tmp_path))
    assert caught.value.code is code
    assert caught.value.hint


def test_a_daemon_gets_its_passphrase_by_descriptor(tmp_path: Path) -> None:
    descriptor = launch.pipe_with("correct horse")
    script = f"import os, sys; sys.exit(os.read({descriptor}, 99) == b'correct horse\\n' and 14)"
    with pytest.raises(ChartmeshError) as caught:
        launch.run_detached([sys.executable, "-c", script], place(tmp_path), descriptor)
    os.close(descriptor)
    assert caught.value.code is Code.STORE_NEWER
