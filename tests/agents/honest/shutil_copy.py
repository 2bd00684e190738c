# ruff: noqa
import shutil, os

os.makedirs("a/b")
open("a/b/c", "w").write("x")
shutil.copytree("a", "d")
shutil.move("d/b/c", "e")
shutil.rmtree("a")
assert open("e").read() == "x"
