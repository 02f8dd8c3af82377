"""The same command on a Ray cluster: as a driver that joins it, and as a job sent to it.

A cluster of one node on loopback, with token authentication as Ray has it by default.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.curation.footage_made import (
    ROOT,
    Job,
    assert_same,
    make_two,
    record,
    run_alone,
    write_configs,
    write_image,
)
from tests.curation.killing import PATIENCE_S, tree, wait_for

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class Cluster:
    address: str
    dashboard: str
    env: dict[str, str]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    port, dashboard, client, agent, agent_grpc, metrics = free_ports(6)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    folder = tempfile.mkdtemp(prefix="ray-")  # sockets lie in it: their paths may have 107 bytes
    log = tmp_path_factory.mktemp("head") / "log"
    options = {
        "port": port,
        "dashboard-port": dashboard,
        "ray-client-server-port": client,
        "dashboard-agent-listen-port": agent,
        "dashboard-agent-grpc-port": agent_grpc,
        "metrics-export-port": metrics,
        "dashboard-host": "127.0.0.1",
        "node-ip-address": "127.0.0.1",
        "num-cpus": 2,
        "object-store-memory": 256 << 20,
        "temp-dir": folder,
    }
    with log.open("wb") as out:
        head = subprocess.Popen(
            [RAY, "start", "--head", "--block", "--disable-usage-stats"]
            + [f"--{name}={value}" for name, value in options.items()],
            env=os.environ | token,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert head.poll() is None, log.read_text()[-4000:]
        return "--block" in log.read_text()

    try:
        wait_for("the head of the cluster", is_up)
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", token)
    finally:
        # not `ray stop`, which ends every Ray of this machine
        for pid in tree(head.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    base = tmp_path_factory.mktemp("footage")
    make_two(base / "footage" / "two shots.mp4", seed=31)
    write_image(base / "footage" / "still.jpg", seed=32)
    return Job(str(base / "footage"), str(base / "data"), write_configs(base / "configs"))


def test_a_driver_joins_the_cluster_and_a_job_gives_the_same_bytes(
    cluster: Cluster, job: Job, tmp_path: Path
) -> None:
    env = cluster.env | {"RAY_ADDRESS": cluster.address}
    run_alone(job.everything(), log=tmp_path / "log", env=env)
    assert record(job.data, "pack")["counts"]["kept"] == 3

    sent = Job(job.footage, str(tmp_path / "data"), job.configs)
    submit = [RAY, "job", "submit", "--address", cluster.dashboard, "--working-dir", str(ROOT)]
    done = subprocess.run(
        [*submit, "--", sys.executable, "-m", *sent.everything()],
        env=os.environ | cluster.env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert_same(sent.data, job.data)
