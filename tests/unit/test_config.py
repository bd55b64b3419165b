"""Configuration: what wins, what is refused, and that the files people copy are true."""

from pathlib import Path

import pytest

from node import config
from node.config import ConfigError, load_config
from protocol import limits
from protocol.errors import Code

CONFIGS = Path(__file__).parents[2] / "configs"
KEY = "01" + "ab" * 32
PEER = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": "/bin"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clinic.toml"


def problems(file: Path | None, env: dict[str, str], **overrides: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(file, env, {key.replace("__", "."): value for key, value in overrides.items()})
    assert caught.value.code is Code.CONFIG
    assert caught.value.hint
    return caught.value.problems


def test_defaults_make_a_clinic_in_the_home_directory(env: dict[str, str]) -> None:
    found = load_config(None, env)
    data_dir = Path(env["HOME"]) / ".chartmesh"
    assert (found.node.role, found.node.data_dir) == ("clinic", data_dir)
    assert found.control.socket == data_dir / "control.sock"
    assert found.network.genesis == data_dir / "genesis"
    assert found.network.listen == config.DEFAULT_LISTEN
    assert found.keys.passphrase_file is None
    assert set(found.origins.values()) == {"default"}


def test_a_light_client_listens_nowhere_unless_told_to(env: dict[str, str]) -> None:
    assert load_config(None, env, {"node.role": "light"}).network.listen == ()
    address = "/ip4/127.0.0.1/tcp/0"
    told = load_config(None, env, {"node.role": "light", "network.listen": address})
    assert told.network.listen == (address,)


def test_flags_win_over_environment_over_file_over_default(env: dict[str, str], file: Path) -> None:
    file.write_text(
        '[node]\nname = "file"\n[log]\nlevel = "error"\n[storage]\nquota_bytes = 1_000_000_000\n'
    )
    env["CHARTMESH_NODE_NAME"] = "environment"
    env["CHARTMESH_LOG_LEVEL"] = "debug"
    found = load_config(file, env, {"node.name": "flag"})
    assert (found.node.name, found.log.level, found.storage.quota_bytes) == ("flag", "debug", 10**9)
    assert found.origins["node.name"] == "flag"
    assert found.origins["log.level"] == "environment CHARTMESH_LOG_LEVEL"
    assert found.origins["storage.quota_bytes"] == f"file {file}"
    assert found.origins["node.role"] == "default"


def test_numbers_and_lists_come_as_text_from_the_environment(env: dict[str, str]) -> None:
    env["CHARTMESH_STORAGE_QUOTA_BYTES"] = "1000000000"
    env["CHARTMESH_NETWORK_LISTEN"] = "/ip4/127.0.0.1/tcp/1, /ip6/::1/tcp/2"
    env["CHARTMESH_NODE_ROLE"] = "light"
    env["CHARTMESH_NETWORK_CLINICS"] = f'[{{name = "a", address = "{PEER}"}}]'
    found = load_config(None, env)
    assert found.storage.quota_bytes == 10**9
    assert found.network.listen == ("/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2")
    assert found.network.clinics == (config.Clinic(name="a", address=PEER),)


def test_the_data_directorys_own_file_is_read_where_none_is_named(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('[node]\nname = "here"\n')
    env["CHARTMESH_NODE_DATA_DIR"] = str(tmp_path)
    assert load_config(None, env).node.name == "here"
    home = Path(env["HOME"]) / ".chartmesh"
    home.mkdir()
    (home / "config.toml").write_text('[node]\nname = "home"\n')
    del env["CHARTMESH_NODE_DATA_DIR"]
    assert load_config(None, env).node.name == "home"


def test_relative_paths_start_at_the_file_or_at_the_working_directory(
    env: dict[str, str], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    file.write_text('[node]\ndata_dir = "data"\n[keys]\npassphrase_file = "~/secret"\n')
    env["CHARTMESH_NETWORK_GENESIS"] = "genesis"
    found = load_config(file, env)
    assert found.node.data_dir == tmp_path / "data"
    assert found.control.socket == tmp_path / "data" / "control.sock"
    assert found.keys.passphrase_file == Path(env["HOME"]) / "secret"
    assert found.network.genesis == Path("/genesis")


def test_all_mistakes_are_reported_at_once(env: dict[str, str], file: Path) -> None:
    file.write_text(
        'log = 3\n[node]\nroel = "light"\nname = 3\n[storage]\nquota_bytes = "many"\n'
        "[networks]\nlisten = []\n[network]\nlisten = 7\n"
    )
    env["CHARTMESH_NODE_NAM"] = "x"
    found = problems(file, env, log__volume="loud", log__level="loud")
    texts = [
        "node.roel",
        "node.name",
        "quota_bytes",
        "networks",
        "network.listen",
        "_NAM",
        "volume",
        "log.level (flag)",
    ]
    for text in [*texts, "log must be a section"]:
        assert sum(text in problem for problem in found) == 1, text
    assert len(found) == len(texts) + 1


def test_a_mistyped_key_gets_a_suggestion(env: dict[str, str], file: Path) -> None:
    file.write_text('[node]\nroel = "light"\n')
    assert problems(file, env)[0].endswith("node.roel is unknown, did you mean node.role?")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node.role", '"doctor"'),
        ("node.name", f'"{"n" * (limits.NAME_CHARS_MAX + 1)}"'),
        ("node.name", '"two\\nlines"'),
        ("node.data_dir", "1"),
        ("node.data_dir", '""'),
        ("log.level", '"loud"'),
        ("storage.quota_bytes", f"{config.QUOTA_BYTES_MIN - 1}"),
        ("storage.quota_bytes", f"{config.QUOTA_BYTES_MAX + 1}"),
        ("storage.quota_bytes", '"1000000000"'),
        ("storage.quota_bytes", "1e9"),
        ("storage.quota_bytes", "true"),
        ("storage.blob_write_buffer_bytes", f"{config.BLOB_WRITE_BUFFER_BYTES_MIN - 1}"),
        ("storage.blob_write_buffer_bytes", f"{config.BLOB_WRITE_BUFFER_BYTES_MAX + 1}"),
        ("control.socket", f'"/{"s" * config.SOCKET_PATH_BYTES_MAX}"'),
        ("keys.passphrase_file", "[]"),
        ("network.listen", '"/ip4/127.0.0.1/tcp/1"'),
        ("network.listen", "[]"),
        ("network.listen", '["127.0.0.1:4001"]'),
        ("network.listen", '["/ip4/127.0.0.1/tcp/65536"]'),
        ("network.listen", '["/ip4/127.0.0.256/tcp/1"]'),
        ("network.listen", '["/ip4/::1/tcp/1"]'),
        ("network.listen", '["/dns4/example.org/tcp/1"]'),
        ("network.listen", '["/ip4/127.0.0.1/udp/1/quic-v1"]'),
        ("network.listen", f'["{PEER}"]'),
        ("network.listen", f"{['/ip4/127.0.0.1/tcp/1'] * (limits.ADDRESSES_MAX + 1)}"),
        ("network.clinics", f'[{{name = "a", address = "{PEER}"}}]'),
    ],
)
def test_a_wrong_value_is_refused_and_named(env: dict[str, str], file: Path, key: str, value: str) -> None:
    section, name = key.split(".")
    file.write_text(f"[{section}]\n{name} = {value}\n")
    (problem,) = problems(file, env)
    assert key in problem


@pytest.mark.parametrize(
    "clinics",
    [
        '[{name = "a"}]',
        '[{name = "a", address = "/ip4/192.0.2.7/tcp/4001"}]',
        '[{name = "a", address = "/ip4/192.0.2.7/tcp/4001", id = "01ab"}]',
        f'[{{name = "a", address = "/ip4/192.0.2.7/tcp/4001", id = "02{"ab" * 32}"}}]',
        f'[{{name = "a", address = "/ip4/192.0.2.7/tcp/0", id = "{KEY}"}}]',
        f'[{{name = "a", address = "{PEER}", port = 7}}]',
        f'[{{name = "a", address = "{PEER}"}}, {{name = "a", address = "{PEER}"}}]',
    ],
)
def test_a_clinic_that_could_not_be_reached_or_known_is_refused(
    env: dict[str, str], file: Path, clinics: str
) -> None:
    file.write_text(f'[node]\nrole = "light"\n[network]\nclinics = {clinics}\n')
    (problem,) = problems(file, env)
    assert "network.clinics" in problem


def test_a_clinic_is_known_by_its_key_or_its_peer_id(env: dict[str, str], file: Path) -> None:
    file.write_text(
        f'[node]\nrole = "light"\n[[network.clinics]]\nname = "a"\naddress = "{PEER}"\n'
        f'[[network.clinics]]\nname = "b"\naddress = "/dns/b.example.org/tcp/1"\nid = "{KEY}"\n'
    )
    assert [clinic.id for clinic in load_config(file, env).network.clinics] == ["", KEY]


@pytest.mark.parametrize("text", [b"[node", b"\xff", b"a = " + b"[" * 100_000, b"#" * (1 << 20) + b"##"])
def test_a_file_that_is_not_toml_is_refused(env: dict[str, str], file: Path, text: bytes) -> None:
    file.write_bytes(text)
    (problem,) = problems(file, env)
    assert str(file) in problem


def test_a_named_file_must_be_there(env: dict[str, str], tmp_path: Path) -> None:
    assert "No such file" in problems(tmp_path / "none.toml", env)[0]
    assert "directory" in problems(tmp_path, env)[0]


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: str(path.relative_to(CONFIGS))
)
def test_every_file_in_configs_loads(env: dict[str, str], path: Path) -> None:
    found = load_config(path, env)
    assert found.node.role == ("light" if "light" in path.name else "clinic")


def test_the_four_clinics_do_not_get_in_each_others_way(env: dict[str, str]) -> None:
    found = [load_config(path, env) for path in sorted((CONFIGS / "four-clinics").glob("*.toml"))]
    assert len({one.node.data_dir for one in found}) == len({one.node.name for one in found}) == 5
    assert len({one.network.listen for one in found}) == 5
    assert len({one.network.genesis for one in found}) == 1


def test_the_service_sets_only_settings_that_exist(env: dict[str, str]) -> None:
    lines = (CONFIGS / "chartmesh.service").read_text().splitlines()
    variables = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    assert variables
    load_config(None, env | dict(line.split("=", 1) for line in variables))
