# ruff: noqa
from abc import ABC, abstractmethod


class A(ABC):
    @abstractmethod
    def f(self): ...


try:
    A()
except TypeError:
    pass
