# ruff: noqa
import sqlite3

c = sqlite3.connect(":memory:")
c.execute("create table t(x)")
c.execute("insert into t values(3)")
assert c.execute("select x from t").fetchone() == (3,)
