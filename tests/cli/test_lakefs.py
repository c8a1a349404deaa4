"""`mlops-assets lakefs` serves the store to who holds a key, and to nobody else."""

from __future__ import annotations

import base64
import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port
from served_lake import Command, new_key, served


def config(port: int, key: dict[str, str]) -> tuple[int, bytes]:
    """What the server answers to who asks for its configuration with a key.

    Plain HTTP: the official client keeps a configuration for every server that it ever met.
    """
    pair = f"{key['access_key_id']}:{key['secret_access_key']}".encode()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/config",
        headers={"authorization": "Basic " + base64.b64encode(pair).decode()},
    )
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_served_store_takes_its_keys_and_ends_when_asked(
    tmp_path: Path, command: Command, stop: signal.Signals
) -> None:
    key = new_key(command, tmp_path)
    with served(tmp_path, "--pre-sign") as (port, process):
        status, body = config(port, key)
        assert status == 200
        assert json.loads(body)["storage_config"]["pre_sign_support"] is True
        assert config(port, {**key, "secret_access_key": "another"})[0] == 401
        process.send_signal(stop)
        out, err = process.communicate()
    assert (process.returncode, out.strip(), err) == (0, "stopped.", "")


def test_a_key_deleted_while_the_store_is_served_is_refused_at_once(
    tmp_path: Path, command: Command
) -> None:
    key, other = new_key(command, tmp_path), new_key(command, tmp_path)
    with served(tmp_path) as (port, _):
        assert config(port, key)[0] == 200
        ended = command("lakefs", "key", "delete", key["access_key_id"], MLOPS_HOME=tmp_path)
        assert ended.code == 0
        assert config(port, key)[0] == 401
        assert config(port, other)[0] == 200


def test_a_secret_is_shown_once_and_listed_never(tmp_path: Path, command: Command) -> None:
    created = command("lakefs", "key", "create", MLOPS_HOME=tmp_path).out
    told = dict(line.split("=", 1) for line in created.splitlines())
    secret = told.pop("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")
    [name] = told.values()
    for options in ([], ["--json"]):
        listed = command("lakefs", "key", "list", *options, MLOPS_HOME=tmp_path)
        assert name in listed.out
        assert secret not in listed.out
    command("lakefs", "key", "delete", name, MLOPS_HOME=tmp_path)
    assert json.loads(command("lakefs", "key", "list", "--json", MLOPS_HOME=tmp_path).out) == []
    assert "no access key" in command("lakefs", "key", "list", MLOPS_HOME=tmp_path).out


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_nothing_is_served_without_a_key(tmp_path: Path, command: Command, host: str) -> None:
    ended = command("lakefs", "serve", "--host", host, "--port", "0", MLOPS_HOME=tmp_path)
    assert ended.code == 2  # port 0 is no port to tell anybody
    port = str(free_port())
    ended = command("lakefs", "serve", "--host", host, "--port", port, MLOPS_HOME=tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert "make one with `mlops-assets lakefs key create`." in ended.err


def test_an_address_that_is_not_to_be_had_is_named_with_its_option(
    tmp_path: Path, command: Command
) -> None:
    new_key(command, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = command("lakefs", "serve", "--port", port, MLOPS_HOME=tmp_path)
    assert ended.code == 1
    assert f"port {port} of 127.0.0.1 is taken" in ended.err
    for host in ("192.0.2.1", "no such host"):
        ended = command("lakefs", "serve", "--host", host, "--port", port, MLOPS_HOME=tmp_path)
        assert ended.code == 1
        assert f"{host} is no address of this machine" in ended.err
        assert "correct --host." in ended.err


def test_a_key_that_does_not_exist_is_named_with_the_way_out(
    tmp_path: Path, command: Command
) -> None:
    ended = command("lakefs", "key", "delete", "AKIANOBODY", MLOPS_HOME=tmp_path)
    assert ended.code == 1
    assert "access key AKIANOBODY not found: `mlops-assets lakefs key list`" in ended.err
