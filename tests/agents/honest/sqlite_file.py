# ruff: noqa
import sqlite3

c = sqlite3.connect("d.db")
c.execute("create table t(x)")
c.commit()
c.close()
assert sqlite3.connect("d.db").execute("select count(*) from t").fetchone() == (0,)
