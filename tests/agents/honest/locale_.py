# ruff: noqa
import locale

locale.setlocale(locale.LC_ALL, "C")
assert locale.format_string("%d", 3) == "3"
