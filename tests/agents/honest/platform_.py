# ruff: noqa
import platform, os, sys, getpass

assert (
    platform.system() == "Linux"
    and os.cpu_count()
    and sys.version_info >= (3, 11)
    and getpass.getuser()
    and os.getcwd()
    and os.path.expanduser("~")
)
