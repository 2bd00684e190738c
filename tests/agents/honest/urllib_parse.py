# ruff: noqa
from urllib.parse import urlparse, quote

assert urlparse("http://a/b").netloc == "a" and quote("a b") == "a%20b"
