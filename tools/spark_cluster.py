"""A standalone Spark cluster on this machine, a master and some workers on loopback, for the time of a command.

    python tools/spark_cluster.py --workers 2 --memory 4g --kill-at "ranker" -- \
        tonearm run --engine spark --events E --items I --test-from D --out DIR

The command gets `--set spark.master=...`. With --kill-at, one worker and all it runs are killed as soon as the command
says that it has finished that stage; the command is to end well nevertheless.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Process = subprocess.Popen[bytes]

HOST = "127.0.0.1"
PATIENCE = 120
"""Seconds that the master and the workers have to find each other."""


@contextmanager
def cluster(workers: int = 2, memory: str = "1g", cores: int = 1) -> Iterator[tuple[str, list[Process]]]:
    """The address of a master, and its workers, each a process group of its own; all are gone after the block."""
    import pyspark

    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    address = f"spark://{HOST}:{_free_port()}"
    port = address.rpartition(":")[2]
    mine = {"SPARK_LOCAL_IP": HOST, "SPARK_NO_DAEMONIZE": "1", "PYSPARK_PYTHON": sys.executable}
    with tempfile.TemporaryDirectory(prefix="tonearm-spark-") as folder:
        environment = os.environ | mine | {"SPARK_WORKER_DIR": folder, "SPARK_LOCAL_DIRS": folder}
        log = (Path(folder) / "cluster.log").open("wb")

        def start(kind: str, *arguments: str) -> Process:
            command = [str(program), f"org.apache.spark.deploy.{kind}", "--host", HOST, "--webui-port", "0", *arguments]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

        started = [start("master.Master", "--port", port)]
        try:
            _wait(lambda: _answers(int(port)), "the master", log.name)
            of_each = ("--cores", str(cores), "--memory", memory, address)
            started += [start("worker.Worker", *of_each) for _ in range(workers)]
            registered = re.compile(rb"Registering worker")
            _wait(lambda: len(registered.findall(Path(log.name).read_bytes())) >= workers, "the workers", log.name)
            yield address, started[1:]
        finally:
            for process in reversed(started):
                kill(process)
            log.close()


def kill(process: Process) -> None:
    """End a process and all that it started, without a word."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def run(command: Sequence[str], address: str, victim: Process | None, at: str | None) -> int:
    """Run a command on the cluster; kill a worker once it has finished a stage. Returns its exit code, or 1."""
    whole = [*command, "--set", f"spark.master={address}"]
    process = subprocess.Popen(whole, stderr=subprocess.PIPE, text=True, bufsize=1)
    assert process.stderr is not None
    killed = False
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        if at is not None and victim is not None and not killed and line.startswith(at):
            time.sleep(1)  # the next stage has begun
            kill(victim)
            killed = True
            print("-- killed a worker", file=sys.stderr, flush=True)
    code = process.wait()
    if at is not None and not killed:
        print(f"-- no stage '{at}' was seen, so no worker was killed", file=sys.stderr)
        return code or 1
    return code


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex((HOST, port)) == 0


def _wait(ready: Callable[[], bool], what: str, log: str) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            said = Path(log).read_text(errors="replace")[-2000:]
            raise SystemExit(f"{what} did not come up within {PATIENCE} s:\n{said}")
        time.sleep(0.3)


def main() -> None:
    """Start a cluster, run the command on it, and end with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="1g", help="of each worker")
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("--kill-at", help="kill one worker once this stage is finished")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    with cluster(given.workers, given.memory, given.cores) as (address, workers):
        raise SystemExit(run(command, address, workers[0] if given.kill_at else None, given.kill_at))


if __name__ == "__main__":
    main()
