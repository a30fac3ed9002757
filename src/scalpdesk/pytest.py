"""The former name of :mod:`scalpdesk_testing.pytest`, of the package scalpdesk-testing: it leads there."""

import sys
from importlib import import_module

try:
    sys.modules[__name__] = import_module("scalpdesk_testing.pytest")
except ModuleNotFoundError as problem:
    raise ImportError("exchanges for tests are in a package: pip install scalpdesk-testing") from problem
