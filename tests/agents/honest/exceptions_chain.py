# ruff: noqa
try:
    try:
        1 / 0
    except ZeroDivisionError as e:
        raise ValueError("x") from e
except ValueError as e:
    assert isinstance(e.__cause__, ZeroDivisionError)
