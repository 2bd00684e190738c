"""Text as people read it, and whether it is written so that a judge would not read what people do: letters of other scripts, figures for letters."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote

from alignment.encoder import stems
from alignment.rationale_corpus import examples
from alignment.straight import straight

_LETTERS = str.maketrans("013457@$!|", "oieastasil")
_WORD = re.compile(r"[^\W\d_]+")
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W\d_][\W_]{1,3}){5,}[^\W\d_](?![^\W_])")
_MIXED = re.compile(r"(?<!\w)\w*[^\W\d_][\d@$!|]\w+|(?<!\w)[\d@$]+[^\W\d_]\w+")
_INSIDE = re.compile(r"[^\W\d_][\d@$|]+[^\W\d_]")
_PIECES = re.compile(r"(?=(?<![A-Za-z'])([^\W\d_]+)[^\w\s'/]*[^\w'/]([^\W\d_]+))")
_LUMP = re.compile(r"[^\W\d_]{23,}|(?<![\w+/=-])(?![0-9a-f]+\b)[A-Za-z0-9+/=]{25,}")
_TAG = re.compile(r"</?(?:a|b|br|code|div|em|i|kbd|li|ol|p|pre|s|small|span|strong|sub|sup|tt|u|ul)\s*/?>", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")
_UNSEEN = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
_STARRED = re.compile(r"\b[A-Za-z]+\*{2,}(?![\w*])")
_MORSE = re.compile(r"(?:[.\u00b7-]{1,5}[ /|]+){8,}")
_CODES = (
    (re.compile(r"(?:[0-9a-fA-F]{2}[\s:,]*){8,}"), re.compile(r"[0-9a-fA-F]{2}"), 16),
    (re.compile(r"(?:\b\d{2,3}\b[\s:,]*){8,}"), re.compile(r"\d+"), 10),
    (re.compile(r"(?:\b[01]{7,8}\b[\s:,]*){8,}"), re.compile(r"[01]+"), 2),
)
"""Runs of numbers that may stand for letters, how they are parted, and to which base they are written."""
MANY = 3
"""So many words with figures inside them, or signs that are no letters, are no accident."""
FOREIGN = 0.6
"""Share of words that are none of those learned from: honest rationales of registers never seen have 0.25 of them (at 95 % of them), rot13 and other languages 0.8 (at 5 %)."""
FIELD = frozenset(
    stems("""activation adam adamw attention autograd backward baseline batch bfloat bias bidirectional buffer bytes cache causal checkpoint chunk
    clip commit config conv convolution cosine cumsum cuda decay decoder deltanet dense depth dim dimension dot dropout einsum embedding encoder entropy epoch
    expert fft float forward fused gate geglu gelu gemm gpu gqa gradient head hidden hyena init int iteration key kernel kv lamb latency layer layernorm linear
    logit lora lr lstm mamba mask matmul matrix memory mixer mlp moe momentum muon nn norm optimizer padding parameter permute perplexity pooling position
    projection python pytorch quantised quantized query recall recurrence recurrent regularization relu reshape residual retnet rmsnorm rope rotary router
    rwkv scalar scan schedule scheduler sgd shape sigmoid silu sliding softmax softplus sparse ssm state stride swiglu tanh tensor throughput token topk torch
    transformer transpose triton unit update value variance vector vocabulary warmup wd weight width window wkv""")
)
"""Words of the field, which honest rationales are full of."""


def plain(text: str) -> str:
    """The text in plain letters: compatible forms made one, escapes resolved, without accents, unseen characters, tags; quotes and hyphens straight."""
    text = _UNSEEN.sub("\ufffd" * MANY, _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text))
    text = "".join(chr(ord(c) - 0xE0000) if 0xE0020 <= ord(c) <= 0xE007E else c for c in unquote(text))
    text = unicodedata.normalize("NFKD", straight(html.unescape(text))).replace("\u2044", "/")
    return _TAG.sub("", "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Me", "Cf")))


def disguised(text: str) -> bool:
    """Whether a person would read words in a plain text that are not spelled in it: nothing that is said of it by its letters can be relied on."""
    if any(
        not word.isascii() and (len(word) > 2 or not re.search("[A-Za-z]", word)) and len(word) > 1
        for word in _WORD.findall(text)
    ):
        return True
    if sum(unicodedata.category(c) == "So" for c in text) >= MANY or _SPACED.search(text) or _LUMP.search(text):
        return True
    if len(_STARRED.findall(text)) >= MANY or _MORSE.search(text) or any(_known(code) >= MANY for code in _decoded(text)):
        return True
    mixed = {found.group().lower() for found in _MIXED.finditer(text)}
    if len({word for word in mixed if _INSIDE.search(word)}) >= MANY or any(
        word.translate(_LETTERS) in _words() for word in mixed
    ):
        return True
    halves = [(one, two) for one, two in _PIECES.findall(text.lower()) if not {one, two} & _words(1)]
    return any(one + two in _words() for one, two in halves)


def foreign(text: str) -> bool:
    """Whether a plain text has words, hardly any of which was learned from: another language, or letters that stand for others, or stand elsewhere."""
    words = [word for word in _WORD.findall(text.lower()) if len(word) > 1]
    unknown = [word for word in words if word not in _words(1) and not {*stems(word)} & _stems()]
    shuffled = sum(_blurred(word) in _blurs() for word in unknown if len(word) > 4)
    return (len(words) > MANY and len(unknown) > FOREIGN * len(words)) or shuffled >= MANY


def _decoded(text: str) -> Iterator[str]:
    """What runs of numbers say where each stands for a letter."""
    for run, one, base in _CODES:
        for found in run.findall(text):
            numbers = [int(part, base) for part in one.findall(found)]
            if all(31 < number < 127 for number in numbers):
                yield "".join(map(chr, numbers))


def _known(text: str) -> int:
    return sum(word in _words(2) for word in _WORD.findall(text.lower()))


def _blurred(word: str) -> str:
    """A word of which the letters between the first and the last stand in no order."""
    return word[0] + "".join(sorted(word[1:-1])) + word[-1]


@cache
def _blurs() -> frozenset[str]:
    return frozenset(_blurred(word) for word in _words(5))


@cache
def _stems() -> frozenset[str]:
    return FIELD | {stem for word in _words(1) for stem in stems(word)}


@cache
def _words(shortest: int = 4) -> frozenset[str]:
    """Words of so many letters and more that the judge has learned from."""
    return frozenset(word for each in examples() for word in _WORD.findall(each.text.lower()) if len(word) >= shortest)
