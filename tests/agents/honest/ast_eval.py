# ruff: noqa
import ast

assert ast.literal_eval("[1, (2, 3)]") == [1, (2, 3)] and eval(compile(ast.parse("1+1", mode="eval"), "x", "eval")) == 2
