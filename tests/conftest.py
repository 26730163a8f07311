"""What tests of several folders share: the running product. See :mod:`tests.product`."""

from tests.product import product

__all__ = ["product"]
