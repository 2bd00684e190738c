# ruff: noqa
from zoneinfo import ZoneInfo

assert str(ZoneInfo("UTC")) == "UTC"
