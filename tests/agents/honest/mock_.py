# ruff: noqa
from unittest import mock

m = mock.Mock(return_value=3)
assert m() == 3 and m.called
