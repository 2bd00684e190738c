# ruff: noqa
import resource, time

assert resource.getrusage(resource.RUSAGE_SELF).ru_utime >= 0 and time.perf_counter() > 0 and time.process_time() >= 0
