# ruff: noqa
import unittest


class T(unittest.TestCase):
    def test_a(self):
        with self.assertRaises(ZeroDivisionError):
            1 / 0


if __name__ == "__main__":
    unittest.main(verbosity=2)
