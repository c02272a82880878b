"""A DAG whose task runs a Kedro pipeline in its own environment; the variables go to the task's process."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("wine", start_date=datetime(2026, 1, 1), schedule="@daily", catchup=False):
    BashOperator(
        task_id="kedro_run",
        cwd="/opt/projects/wine",
        bash_command="kedro run",
        append_env=True,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production",
            "KEDRO_OTEL_DETAIL": "run",
            "KEDRO_OTEL_HOME": "/var/lib/kedro-otel",
        },
    )
