# ruff: noqa
import hashlib, hmac, zlib, base64

assert hashlib.md5(b"x").hexdigest()[:6] == "9dd4e4" and zlib.crc32(b"x") == 2363233923
assert base64.b64decode(base64.b64encode(b"abc")) == b"abc"
