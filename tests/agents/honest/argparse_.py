# ruff: noqa
import argparse

p = argparse.ArgumentParser()
p.add_argument("--n", type=int, default=3)
assert p.parse_args([]).n == 3
