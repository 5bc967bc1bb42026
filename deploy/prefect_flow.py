"""Every night: lists of all that was played so far, published behind the gate. For Prefect 3: python prefect_flow.py"""

import subprocess
from datetime import UTC, datetime

from prefect import flow, task


@task(retries=1, retry_delay_seconds=900)
def tonearm(command: str) -> None:
    """One command; what it prints is logged, and a refusal fails the task."""
    subprocess.run(["tonearm", *command.split()], check=True)


@flow(name="tonearm", log_prints=True)
def nightly() -> None:
    """Check, run, publish."""
    run = f"/data/runs/{datetime.now(UTC):%Y-%m-%d}"
    tonearm("check --events /data/plays --items /data/tracks.parquet")
    tonearm(f"run --events /data/plays --items /data/tracks.parquet --out {run} --overwrite --quiet")
    tonearm(f"publish {run} --store /data/store")


if __name__ == "__main__":
    nightly.serve(name="nightly", cron="30 2 * * *")
