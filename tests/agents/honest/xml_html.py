# ruff: noqa
import xml.etree.ElementTree as E, html

assert E.fromstring("<a><b/></a>")[0].tag == "b" and html.escape("<") == "&lt;"
