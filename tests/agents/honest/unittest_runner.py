# ruff: noqa
import unittest


class T(unittest.TestCase):
    def test_a(self):
        self.assertTrue(True)


r = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))
assert r.wasSuccessful()
