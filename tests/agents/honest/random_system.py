# ruff: noqa
import random, secrets, uuid

assert 0 <= random.SystemRandom().random() < 1 and len(secrets.token_hex(8)) == 16 and uuid.uuid4().version == 4
