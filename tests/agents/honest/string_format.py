# ruff: noqa
import string, textwrap

assert f"{3.14159:.2f}" == "3.14" and textwrap.dedent("  a").strip() == "a" and string.ascii_lowercase[:3] == "abc"
