# ruff: noqa
from datetime import datetime, timedelta, timezone

assert datetime(2024, 2, 28, tzinfo=timezone.utc) + timedelta(days=2) == datetime(2024, 3, 1, tzinfo=timezone.utc)
