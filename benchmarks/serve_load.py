"""The service under load by wrk on loopback, beside a service of FastAPI with lists in a dict.

python benchmarks/serve_load.py RUN STORE [--seconds 60] [--workers 2] [--connections 8] [--rate 100]
    [--save serve-load]

STORE must be a folder that is not there. Two threads of wrk ask for 20 entries of listeners drawn at random; meanwhile
events arrive at the rate, each of a listener drawn at random, and in the middle the run is published once more, as
nightly work is, under nice.
Memory is what each worker has for itself, mapped files apart. The dict's service has one worker and neither
events nor versions, as its lists are its own.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import polars as pl

import figures

DICT = """
import polars as pl, uvicorn
from fastapi import FastAPI
rows = pl.read_parquet({file!r}, columns=["user_id", "item_id"]).group_by("user_id").agg("item_id").iter_rows()
lists, app = {{str(user): items for user, items in rows}}, FastAPI()
@app.get("/recommendations/{{user}}")
async def recommend(user: str, k: int = 20) -> list[int]:
    return lists.get(user, [])[:k]
print("up", flush=True)
uvicorn.run(app, port={port}, log_level="warning", access_log=False)
"""


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.terminate()


def wait(address: str) -> None:
    """Until it answers."""
    for _ in range(1200):
        try:
            with urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{address} does not answer")


def wrk(address: str, users: Path, given: Any) -> dict[str, Any]:
    """Requests a second, milliseconds at percentiles, and errors."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f"local users = {{}}\nfor line in io.lines('{users}') do users[#users + 1] = line end\n"
            "function init() math.randomseed(os.time()) end\n"
            "function request()\n"
            "  return wrk.format('GET', '/recommendations/' .. users[math.random(#users)] .. '?k=20')\nend\n"
        )
        script.flush()
        command = [
            "wrk",
            "-t2",
            f"-c{given.connections}",
            f"-d{given.seconds}s",
            "--latency",
            "-s",
            script.name,
            address,
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at = {f"at_{share}": _milliseconds(re.search(rf"{share}%\s+([\d.]+)(\w+)", said)) for share in (50, 99)}
    errors = sum(int(n) for n in re.findall(r"(?:Non-2xx or 3xx responses:|connect|read|write|timeout) (\d+)", said))
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), **at, "errors": errors}  # type: ignore[index]


def _milliseconds(found: re.Match[str] | None) -> float:
    assert found is not None
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def own_memory(pid: int) -> list[float]:
    """MB of its own of a process and of those it made, workers with a server in them alone."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    texts = {one: Path(f"/proc/{one}/status").read_text() for one in [str(pid), *below]}
    sizes = [int(re.search(r"RssAnon:\s+(\d+)", text)[1]) / 1024 for text in texts.values()]  # type: ignore[index]
    return sizes if len(sizes) == 1 else sorted(sizes)[-len(below) :]


def served(run: Path, store: Path, given: Any, users: Path) -> list[Any]:
    """One row of ours."""
    tonearm = str(Path(sys.executable).with_name("tonearm"))
    subprocess.run([tonearm, "publish", str(run), "--store", str(store)], check=True, stdout=subprocess.DEVNULL)
    flags = ["--port", "0", "--workers", str(given.workers), "--quiet"]
    sent, stop = [0, 0], threading.Event()
    with process([tonearm, "serve", "--store", str(store), *flags]) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+:\d+", server.stdout.readline())[0]  # type: ignore[index]
        wait(f"{address}/ready")
        names = users.read_text().split()
        items = pl.read_parquet(run / "top_popular.parquet")["item_id"].to_list()

        def send() -> None:
            while not stop.is_set():
                began = time.perf_counter()
                event = {"user_id": random.choice(names), "item_id": random.choice(items)}
                body = json.dumps(event)
                try:
                    with urlopen(Request(f"{address}/events", body.encode(), {"Content-Type": "application/json"})):
                        sent[0] += 1
                except OSError:
                    sent[1] += 1
                time.sleep(max(0.0, 4 / given.rate - time.perf_counter() + began))

        def publish() -> None:
            time.sleep(given.seconds / 2)
            command = ["nice", "-n", "19", tonearm, "publish", str(run), "--store", str(store), "--force"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        threads = [threading.Thread(target=send) for _ in range(4)] + [threading.Thread(target=publish)]
        for thread in threads:
            thread.start()
        found = wrk(address, users, given)
        stop.set()
        for thread in threads:
            thread.join()
        memory = max(own_memory(server.pid))
    row = [found["rate"], found["at_50"], found["at_99"], found["errors"] + sent[1], sent[0] / given.seconds, memory]
    return [f"tonearm serve, {given.workers} workers, one publish", *row]


def dict_service(run: Path, given: Any, users: Path) -> list[Any]:
    """One row of a plain service."""
    code = DICT.format(file=str(run / "recommendations.parquet"), port=given.port)
    with process([sys.executable, "-c", code]) as server:
        assert server.stdout is not None
        server.stdout.readline()
        wait(f"http://127.0.0.1:{given.port}/recommendations/0")
        found = wrk(f"http://127.0.0.1:{given.port}", users, given)
        memory = max(own_memory(server.pid))
    return [
        "FastAPI with a dict, 1 worker",
        found["rate"],
        found["at_50"],
        found["at_99"],
        found["errors"],
        0.0,
        memory,
    ]


def main() -> None:
    """Measure both, and print or keep the table."""
    parser = figures.parser(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    ids = pl.scan_parquet(given.run / "recommendations.parquet").filter(pl.col("rank") == 1).select("user_id").collect()
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder) / "users.txt"
        users.write_text("\n".join(map(str, ids["user_id"].sample(min(len(ids), 100_000), seed=0))))
        table = [served(given.run, given.store, given, users), dict_service(given.run, given, users)]
    heads = [("requests a second", ",.0f"), ("ms at 50%", ".1f"), ("ms at 99%", ".1f"), ("errors", ",.0f")]
    more = [("events a second", ".0f"), ("own MB a worker", ",.0f")]
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    figures.tell([("service", ""), *heads, *more], table, given.save)


if __name__ == "__main__":
    main()
