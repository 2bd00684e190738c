"""The words that checks of added code look for. A name stands for itself and for all below it: `os` for `os.fork`."""

from __future__ import annotations

IMPORTABLE: frozenset[str] = frozenset((
    "__future__", "abc", "collections", "contextlib", "dataclasses", "enum", "functools", "itertools", "kernels", "math",
    "modules", "numbers", "numpy", "operator", "statistics", "torch", "typing", "warnings"
))  # fmt: skip
"""Top-level packages a candidate may import from."""
HOUSE_NAMES: tuple[str, ...] = (
    "plan.catalogue.module", "plan.nouns.Status", "modules.trainer.Recipe", "modules.settings.ConfigError",
    "modules.settings.check_ranges", "kernels.paths.Path", "kernels.paths.choose", "kernels.paths.rows"
)  # fmt: skip
"""Names of the house's machinery that a module file needs all the same."""
INSTRUMENTAL: tuple[str, ...] = (
    "agents", "alignment", "bench", "envs", "plan", "tests", "modules.trainer", "modules.decoder", "modules.contract",
    "modules.checkpoint", "modules.adamw", "modules.settings", "modules.tried", "kernels.native", "kernels.agreement", "kernels.paths"
)  # fmt: skip
"""The house's own machinery."""
OUT_OF_TORCH: tuple[str, ...] = (
    "torch.from_numpy", "torch.from_dlpack", "torch.utils.dlpack", "numpy.convolve", "numpy.dot", "numpy.einsum", "numpy.fft",
    "numpy.from_dlpack", "numpy.inner", "numpy.linalg", "numpy.matmul", "numpy.outer", "numpy.tensordot", "numpy.vdot"
)  # fmt: skip
"""What computes where no FLOPs are counted, or brings it back."""
NETWORK: tuple[str, ...] = (
    "socket", "ssl", "http", "urllib", "ftplib", "smtplib", "asyncio", "requests", "aiohttp", "socketserver", "xmlrpc",
    "torch.distributed", "torch.hub", "webbrowser", "select", "selectors", "anyio", "trio"
)  # fmt: skip
"""What speaks to another machine."""
LEAVES: tuple[str, ...] = (
    "subprocess", "multiprocessing", "threading", "_thread", "concurrent", "atexit", "signal", "sched", "faulthandler",
    "os.fork", "os.forkpty", "os.system", "os.popen", "os.kill", "os.killpg", "os._exit", "os.abort", "sys.exit", "exit",
    "quit", "weakref", "torch.multiprocessing", "torch.futures", "SystemExit", "KeyboardInterrupt"
)  # fmt: skip
"""What runs beside, after or instead of the measurement."""
FILES: tuple[str, ...] = (
    "open", "io", "os", "pathlib", "shutil", "tempfile", "glob", "mmap", "fcntl", "linecache", "tokenize", "fileinput",
    "codecs", "pickle", "marshal", "shelve", "dbm", "sqlite3", "zipfile", "tarfile", "csv", "configparser", "pkgutil",
    "site", "sysconfig", "zipimport", "logging", "gzip", "bz2", "lzma", "torch.save", "torch.load", "torch.from_file",
    "torch.serialization", "torch.package", "torch.jit", "torch.export", "torch.storage", "torch.UntypedStorage",
    "torch.TypedStorage", "numpy.load", "numpy.save", "numpy.savez", "numpy.memmap", "numpy.fromfile", "numpy.genfromtxt",
    "numpy.loadtxt", "numpy.savetxt", "numpy.lib", "numpy.DataSource", "input", "print", "kernels.native"
)  # fmt: skip
"""What reads or writes more than it is handed."""
FILE_METHODS: frozenset[str] = frozenset((
    "dump", "from_file", "open", "read_bytes", "read_text", "tofile", "unlink", "write_bytes", "write_text"
))  # fmt: skip
"""Attributes of whatever object that do the same."""
LOOKS: tuple[str, ...] = (
    "gc", "inspect", "sys", "builtins", "ctypes", "cffi", "types", "traceback", "dis", "ast", "code", "codeop", "importlib",
    "imp", "runpy", "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "__builtins__", "__loader__",
    "__spec__", "platform", "resource", "operator.attrgetter", "operator.methodcaller", "torch.ops", "torch.library",
    "torch.fx", "torch.utils.cpp_extension", "torch.utils.hooks", "torch.profiler", "torch.overrides", "numpy.ctypeslib",
    "breakpoint", "pdb"
)  # fmt: skip
"""What looks into the process, or makes code at run time."""
INSIDES: frozenset[str] = frozenset((
    "__base__", "__bases__", "__builtins__", "__class__", "__closure__", "__code__", "__defaults__", "__dict__", "__func__",
    "__getattribute__", "__globals__", "__kwdefaults__", "__loader__", "__mro__", "__self__", "__spec__", "__subclasses__",
    "__traceback__", "__wrapped__", "ag_frame", "cr_frame", "f_back", "f_globals", "f_locals", "gi_frame", "tb_frame",
    "tb_next"
))  # fmt: skip
"""Attributes that lead from a value into the interpreter."""
CLOCKS: tuple[str, ...] = (
    "time", "datetime", "timeit", "calendar", "torch.utils.benchmark", "torch.cuda.Event", "torch.autograd.profiler",
    "sched"
)  # fmt: skip
"""What knows the time."""
CHANCE: tuple[str, ...] = (
    "random", "secrets", "uuid", "os.urandom", "numpy.random", "torch.manual_seed", "torch.seed", "torch.initial_seed",
    "torch.random", "torch.Generator", "torch.set_rng_state", "torch.get_rng_state", "torch.default_generator",
    "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.cuda.seed", "torch.use_deterministic_algorithms"
)  # fmt: skip
"""What makes, seeds or moves a generator."""
SWITCHES: tuple[str, ...] = (
    "torch.set_", "torch.nn.modules.module.register_module_", "torch.autograd.set_", "torch.autograd.graph",
    "torch.backends", "torch.nn.utils.parametrize", "torch.utils._python_dispatch"
)  # fmt: skip
"""What changes torch for everybody; a name with `_` at its end stands for all that begin so."""
ASKED: frozenset[str] = frozenset((
    "__call__", "_call_impl", "apply", "buffers", "children", "eval", "load_state_dict", "modules", "named_modules",
    "named_parameters", "numel", "parameters", "register_forward_hook", "requires_grad_", "state_dict", "to", "train",
    "zero_grad"
))  # fmt: skip
"""Methods of every module that the harness calls."""
NO_NUMBERS: tuple[str, ...] = ("math.nan", "cmath.nan", "torch.nan", "numpy.nan", "numpy.NaN", "numpy.NAN")
"""What compares as neither more nor less than anything."""
PLAIN: frozenset[str] = frozenset((
    "bool", "bytes", "complex", "dict", "float", "int", "list", "numpy.float64", "numpy.generic", "numpy.ndarray", "set",
    "str", "torch.Tensor", "torch.nn.Parameter", "torch.nn.parameter.Parameter", "type"
))  # fmt: skip
"""Classes that values are of, and nothing else poses as."""
LIARS: frozenset[str] = frozenset((
    "__array__", "__array_ufunc__", "__bool__", "__class__", "__class_getitem__", "__del__", "__eq__", "__float__",
    "__format__", "__ge__", "__getattr__", "__getattribute__", "__getstate__", "__gt__", "__hash__", "__index__",
    "__init_subclass__", "__instancecheck__", "__int__", "__le__", "__lt__", "__ne__", "__new__", "__prepare__",
    "__reduce__", "__reduce_ex__", "__set_name__", "__setattr__", "__setstate__", "__subclasscheck__", "__torch_dispatch__",
    "__torch_function__"
))  # fmt: skip
"""Methods by which a value decides how it is compared, copied, found or ended."""
IMMORTAL: frozenset[str] = frozenset((
    "Counter", "OrderedDict", "bytearray", "defaultdict", "deque", "dict", "list", "set"
))  # fmt: skip
"""Calls that make something which is filled later."""
