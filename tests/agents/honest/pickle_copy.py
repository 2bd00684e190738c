# ruff: noqa
import pickle, copy

assert pickle.loads(pickle.dumps({1: {2, 3}})) == {1: {2, 3}} == copy.deepcopy({1: {2, 3}})
