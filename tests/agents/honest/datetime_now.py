# ruff: noqa
import datetime

assert datetime.datetime.now().year > 2000 and datetime.date.today().strftime("%Y").isdigit()
