# ruff: noqa
try:
    raise ExceptionGroup("g", [ValueError(1), TypeError(2)])
except* ValueError as e:
    assert len(e.exceptions) == 1
except* TypeError:
    pass
