"""The stages of a run as Prefect tasks. Importing this package switches off the telemetry of what it uses."""

from tasks.runtime.environment import share_cores, silence

silence()
share_cores()
