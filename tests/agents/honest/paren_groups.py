# ruff: noqa
def f(s):
    out, depth, cur = [], 0, ""
    for c in s.replace(" ", ""):
        depth += 1 if c == "(" else -1
        cur += c
        if depth == 0:
            out.append(cur)
            cur = ""
    return out


assert f("( ) (( ))") == ["()", "(())"]
