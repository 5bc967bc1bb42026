"""Every night: lists of all that was played so far, behind the gate. For Airflow 3: goes into its dags folder."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

RUN = "/data/runs/{{ ds }}"

with DAG(
    dag_id="tonearm",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=15)},
):
    check = BashOperator(
        task_id="check",
        bash_command="tonearm check --events /data/plays --items /data/tracks.parquet",
    )
    run = BashOperator(
        task_id="run",
        bash_command=f"tonearm run --events /data/plays --items /data/tracks.parquet --out {RUN} --overwrite --quiet",
        execution_timeout=timedelta(hours=4),
    )
    publish = BashOperator(
        task_id="publish",
        bash_command=f"tonearm publish {RUN} --store /data/store",
    )
    check >> run >> publish
