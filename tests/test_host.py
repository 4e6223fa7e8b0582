"""The files for a production host: each is checked by the program that reads it, where that program is installed."""

from __future__ import annotations

import base64
import configparser
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from flows.ops.servers import SETTINGS
from tasks.runtime.environment import SWITCHES

HOST = Path(__file__).resolve().parent.parent / "mlflow" / "host"
UNITS = sorted(HOST.glob("*.service"))
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def environment() -> dict[str, str]:
    lines = (HOST / "freqd.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- the environment ------------------------------------------------------------------------------------------------


def test_the_environment_says_what_freqd_up_says_and_holds_no_secret() -> None:
    found = environment()
    expected = {**SWITCHES, **SETTINGS}
    assert {name: found.get(name) for name in expected} == expected
    assert not any(re.search(r"://[^/]*:[^/]*@", value) for value in found.values())
    shell = "set -a; . ./freqd.env; env"
    seen = subprocess.run(["sh", "-c", shell], cwd=HOST, capture_output=True, text=True, check=True).stdout
    assert {f"{name}={value}" for name, value in found.items()} <= set(seen.splitlines()), "a shell reads it alike"


# -- systemd --------------------------------------------------------------------------------------------------------


def commands(unit: Path) -> list[str]:
    return re.findall(r"^Exec\w+=(.*)$", unit.read_text(), re.MULTILINE)


def test_there_is_a_unit_for_each_part() -> None:
    assert [unit.stem for unit in UNITS] == ["freqd-mlflow", "freqd-prefect", "freqd-serve", "freqd-worker"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_a_unit_and_runs_without_privileges(unit: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    service = parser["Service"]
    assert service["User"] == "freqd"
    assert service["UMask"] == "0077"
    assert service["NoNewPrivileges"] == "true"
    assert service["ReadWritePaths"] == environment()["FREQD_WORKDIR"]
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    for command in commands(unit):
        assert "0.0.0.0" not in command
        assert command.startswith("/opt/freqd/bin/")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/freqd/bin", str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(text)
    paths = sorted(tmp_path.glob("*.service"))
    found = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60)
    ours = [line for line in found.stderr.splitlines() if "freqd" in line]
    assert (found.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_commands_of_a_unit_exist_with_these_options(unit: Path) -> None:
    for command in commands(unit):
        program, *words = command.split()
        if Path(program).name == "python":
            assert words[:2] == ["-P", "-m"]
            assert importlib.util.find_spec(words[2]) is not None
            continue
        options = {word for word in words if word.startswith("--")}
        verbs = words[: next((n for n, word in enumerate(words) if word.startswith("--")), len(words))]
        found = subprocess.run(
            [Path(sys.executable).parent / Path(program).name, *verbs, "--help"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        assert all(option in found.stdout for option in options), found.stdout


# -- compose --------------------------------------------------------------------------------------------------------


def test_compose_runs_the_same_commands_and_opens_nothing_but_the_proxy() -> None:
    services = yaml.safe_load((HOST / "compose.yaml").read_text())["services"]
    assert set(services) == {"prefect", "mlflow", "worker", "serve", "proxy"}
    for unit in UNITS:
        service = services[unit.stem.removeprefix("freqd-")]
        for command in commands(unit):
            assert command.removeprefix("/opt/freqd/bin/") in service["command"]
        assert service["env_file"] == "freqd.env"
        assert service["cap_drop"] == ["ALL"]
        assert (HOST / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    for service in services.values():
        assert service["network_mode"] == "host"
        assert "ports" not in service
        assert not service.get("privileged")
    mounts = [mount.split(":") for mount in services["proxy"]["volumes"]]
    text = (HOST / "nginx.conf").read_text()
    assert all(inside in text or inside.endswith("/conf.d/default.conf") for _, inside, _ in mounts)
    assert {mode for _, _, mode in mounts} == {"ro"}


@pytest.mark.parametrize(("old", "new", "sound"), [("", "", True), ("tmpfs:", "tmp_fs:", False)])
def test_compose_follows_the_published_schema(tmp_path: Path, old: str, new: str, sound: bool) -> None:
    """The schema of the Compose specification, which the checker brings along; a misspelt key shows that it looks."""
    copy = tmp_path / "compose.yaml"
    copy.write_text((HOST / "compose.yaml").read_text().replace(old, new))
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = [checker, "--builtin-schema", "vendor.compose-spec", copy]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (checked.returncode == 0) == sound, checked.stdout


# -- nginx ----------------------------------------------------------------------------------------------------------


NAMES = {"prefect": "4200", "mlflow": "5000", "recommend": "8080"}


class Behind(BaseHTTPRequestHandler):
    """A server behind the proxy: answers with its name, and keeps the headers it got."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


class Proxy:
    """The reverse proxy of the example, with another port, and stand-ins behind it."""

    def __init__(self, port: int, behind: dict[str, int], logs: Path, certificate: Path) -> None:
        self.port, self.behind, self.logs = port, behind, logs
        self._trust = ssl.create_default_context(cafile=str(certificate))

    def get(self, name: str, path: str = "/", login: str | None = None, **headers: str) -> tuple[int, str]:
        """Status and body of https://NAME/PATH."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._trust)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.sock = self._trust.wrap_socket(raw, server_hostname="prefect.example.org")
        if login is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        try:
            connection.request("GET", path, headers={"Host": name, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def example(folder: Path, port: int, behind: dict[str, int]) -> str:
    """The example with this test's ports and files."""
    text = (HOST / "nginx.conf").read_text()
    changes = {"443": str(port), "/etc/nginx/": f"{folder}/", "/var/log/nginx/": f"{folder}/"}
    changes |= {f"127.0.0.1:{own}": f"127.0.0.1:{behind[own]}" for own in behind}
    for old, new in changes.items():
        assert old in text, f"the example has no {old}"
        text = text.replace(old, new)
    return (
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + text
        + "}\n"
    )


@contextmanager
def proxy_before(folder: Path, behind: dict[str, int]) -> Iterator[Proxy]:
    """The example's proxy before these ports, in the place of those that it names; it knows ann, whose word is right."""
    if NGINX is None or shutil.which("openssl") is None:
        pytest.skip("no nginx or no openssl on this machine")
    names = ",".join(f"DNS:{name}.example.org" for name in NAMES)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=example.org",
         "-addext", f"subjectAltName={names}", "-keyout", folder / "freqd.key", "-out", folder / "freqd.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    secret = subprocess.run(["openssl", "passwd", "-apr1", "right"], check=True, capture_output=True, text=True).stdout
    (folder / "freqd.users").write_text(f"ann:{secret.strip()}\n")
    port, config = free_port(), folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(user + example(folder, port, behind))
    checked = subprocess.run([NGINX, "-t", "-p", folder, "-c", config], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    running = subprocess.Popen([NGINX, "-p", folder, "-c", config], stderr=subprocess.DEVNULL)
    try:
        found = Proxy(port, behind, folder, folder / "freqd.crt")
        wait_for(lambda: found.get("prefect.example.org"), 20)
        yield found
    finally:
        running.terminate()
        running.wait(20)


def wait_for(what: Callable[[], Any], seconds: float) -> None:
    """Until it does not fail for want of a connection."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            what()
            return
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    servers = {own: ThreadingHTTPServer(("127.0.0.1", 0), Behind) for own in NAMES.values()}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        behind = {own: int(server.server_address[1]) for own, server in servers.items()}
        with proxy_before(tmp_path_factory.mktemp("nginx"), behind) as found:
            yield found
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("name", NAMES)
def test_without_the_right_password_there_is_no_answer(proxy: Proxy, name: str) -> None:
    host = f"{name}.example.org"
    assert proxy.get(host)[0] == 401
    assert proxy.get(host, login="ann:wrong")[0] == 401
    assert proxy.get(host, login="bob:right")[0] == 401
    assert proxy.get(host, login="ann:right") == (200, str(proxy.behind[NAMES[name]]))


@pytest.mark.parametrize("host", ["elsewhere.example.org", "127.0.0.1", "prefect.example.org.evil.net"])
def test_other_names_get_no_answer_even_with_the_password(proxy: Proxy, host: str) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ssl.SSLError, ConnectionError)):
        proxy.get(host, login="ann:right")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_another_origin_is_refused_even_with_the_password(proxy: Proxy, name: str) -> None:
    """A browser sends the password along with what a foreign page asks; the page's origin tells it apart."""
    host, behind = f"{name}.example.org", str(proxy.behind[NAMES[name]])
    others = [f"https://{other}.example.org" for other in NAMES if other != name]
    odd = (f"http://{host}", f"https://{host}:8443", f"https://{host}.evil.net", f"https://evil.net/{host}")
    Behind.seen.clear()
    for origin in ("https://evil.net", "null", "http://127.0.0.1:4200", *odd, *others):
        assert proxy.get(host, login="ann:right", Origin=origin)[0] == 403, origin
    assert Behind.seen == [], "nothing of it reaches a server"
    assert proxy.get(host, login="ann:right", Origin=f"https://{host}") == (200, behind)
    assert proxy.get(host, login="ann:right") == (200, behind), "whatever is no page says no origin"
    assert proxy.get(host, login="ann:wrong", Origin=f"https://{host}")[0] == 401, "an origin is no password"


def test_prefects_guard_is_told_its_own_origin(proxy: Proxy) -> None:
    Behind.seen.clear()
    host = "prefect.example.org"
    proxy.get(host, "/api/flows/filter", login="ann:right", Origin=f"https://{host}")
    (got,) = Behind.seen
    behind = f"127.0.0.1:{proxy.behind['4200']}"
    assert (got["host"], got["origin"]) == (behind, f"http://{behind}")


def test_the_password_stays_at_the_proxy_and_the_name_goes_on(proxy: Proxy) -> None:
    Behind.seen.clear()
    assert proxy.get("mlflow.example.org", "/ajax-api", login="ann:right")[0] == 200
    (got,) = Behind.seen
    assert not got.get("authorization")
    assert got["host"] == "mlflow.example.org"
    assert got["x-forwarded-proto"] == "https"


def test_the_prefect_page_gets_its_live_connection(proxy: Proxy) -> None:
    Behind.seen.clear()
    proxy.get("prefect.example.org", "/api/events/out", login="ann:right", Upgrade="websocket", Connection="Upgrade")
    assert (Behind.seen[0]["upgrade"], Behind.seen[0]["connection"]) == ("websocket", "upgrade")


def test_the_log_of_recommendations_names_no_user_of_the_shop(proxy: Proxy) -> None:
    assert proxy.get("recommend.example.org", "/recommend/secretperson-7?k=5", login="ann:right")[0] == 200
    assert proxy.get("recommend.example.org", "/recommend/secretperson-7?k=5")[0] == 401
    assert proxy.get("prefect.example.org", "/api/health", login="ann:right")[0] == 200
    time.sleep(0.3)
    text = "".join(path.read_text() for path in proxy.logs.glob("*.log"))
    assert "secretperson" not in text
    assert "recommend.example.org GET 200" in text
    assert "GET /api/health" in text, "the pages' paths are logged"


@pytest.mark.slow
def test_the_real_servers_answer_as_the_units_start_them(tmp_path: Path) -> None:
    """Environment and commands of the units, with this test's folder and ports, behind the example's proxy."""
    work = tmp_path / "work"
    (work / "mlflow" / "artifacts").mkdir(parents=True)
    (work / "prefect").mkdir()
    ports = {own: free_port() for own in NAMES.values()}

    def here(text: str) -> str:
        text = text.replace("/srv/freqd", str(work)).replace("/opt/freqd/bin", str(Path(sys.executable).parent))
        for own, port in ports.items():
            text = re.sub(rf"\b{own}\b", str(port), text)
        return text

    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "FREQD_W"))}
    told = own | {name: here(value) for name, value in environment().items()}
    started = []
    try:
        for name in ("prefect", "mlflow"):
            (command,) = commands(HOST / f"freqd-{name}.service")
            log = (tmp_path / f"{name}.log").open("wb")
            started.append(subprocess.Popen(here(command).split(), env=told, cwd=work, stdout=log, stderr=log))

        def direct(own: str, path: str, **headers: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", ports[own], timeout=10)
            connection.request("GET", path, headers=headers)
            status = connection.getresponse().status
            connection.close()
            return status

        wait_for(lambda: direct("4200", "/api/health"), 90)
        wait_for(lambda: direct("5000", "/health"), 90)
        deploy, _ = commands(HOST / "freqd-worker.service")
        for _ in range(2):
            done = subprocess.run(here(deploy).split(), env=told, cwd=work, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        assert direct("5000", "/", Host="evil.example.org") == 403, "MLflow checks the name by itself"
        folder = tmp_path / "nginx"
        folder.mkdir()
        with proxy_before(folder, ports) as found:
            for name, path in (("prefect", "/api/health"), ("prefect", "/"), ("mlflow", "/"), ("mlflow", "/health")):
                host = f"{name}.example.org"
                assert found.get(host, path)[0] == 401
                assert found.get(host, path, login="ann:right")[0] == 200
                assert found.get(host, path, login="ann:right", Origin=f"https://{host}")[0] == 200, "its own page"
            shown = found.get("prefect.example.org", "/ui-settings", login="ann:right")[1]
            assert json.loads(shown)["api_url"] == "/api", "the page calls the name that it came from"
            deployed = found.get("prefect.example.org", "/api/deployments/name/freqd/retrain", login="ann:right")
            assert deployed[0] == 200
            assert found.get("recommend.example.org", "/health", login="ann:right")[0] == 502, "nothing is served yet"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)
