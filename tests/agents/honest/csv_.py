# ruff: noqa
import csv, io

b = io.StringIO()
csv.writer(b).writerow([1, "a,b"])
assert next(csv.reader(io.StringIO(b.getvalue()))) == ["1", "a,b"]
