# ruff: noqa
with open("notes.txt", "w") as f:
    f.write("a\nb\n")
assert [l.strip() for l in open("notes.txt")] == ["a", "b"]
