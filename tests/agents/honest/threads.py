# ruff: noqa
import threading, queue

q = queue.Queue()
ts = [threading.Thread(target=q.put, args=(i,)) for i in range(8)]
[t.start() for t in ts]
[t.join() for t in ts]
assert sorted(q.queue) == list(range(8))
