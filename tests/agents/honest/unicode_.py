# ruff: noqa
import unicodedata

assert unicodedata.normalize("NFC", "e\u0301") == "é" and "ß".upper() == "SS"
print("héllo wörld ✓")
