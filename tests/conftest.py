"""What tests of several folders share: the running product. See :mod:`tests.product`."""

import signal

from tests.product import product

__all__ = ["product"]

# A shell's background job starts with Ctrl-C ignored, and hands that on to every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
