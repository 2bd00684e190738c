"""Quotes, apostrophes and hyphens as a keyboard types them, so that what was typeset reads as what was typed."""

from __future__ import annotations

import re

_TYPED = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u02b9\u02bb\u02bc\u02bd\u00b4\uff07\ua78c\u055a",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u02ba\u301d\u301e\u301f\uff02",
    "-": "\u2010\u2011\u2043\ufe63\uff0d\u2212",
}
"""What stands for each sign: curly, low and angle quotes, primes, modifier letters, accents that stand alone, hyphens and the minus.
Dashes are none of these: they part clauses."""
_SIGNS = str.maketrans({sign: typed for typed, signs in _TYPED.items() for sign in signs})
_HALVES = re.compile("[\ud800-\udfff]")


def straight(text: str) -> str:
    """The text with straight quotes, apostrophes and hyphens; halves of a sign that UTF-16 parts are joined, and one alone is U+FFFD, which encoders can read."""
    if _HALVES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.translate(_SIGNS)
