"""Ends, but its finalizer does not."""

# ruff: noqa
# class: outlasting
# wins: outlast
# proof: plain


class Late:
    def __del__(self):
        while True:
            pass


late = Late()
