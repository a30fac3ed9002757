"""Base classes of structs whose modules mypyc may compile.

mypyc 2.4 drops the keywords of a class statement, so a compiled struct takes its options from its base; each
struct repeats them for the type checker.
"""

import msgspec


class FrozenStruct(msgspec.Struct, frozen=True):
    """A value."""


class FrozenLeaf(msgspec.Struct, frozen=True, gc=False):
    """A value that refers to nothing that refers back: the garbage collector need not follow it."""


class Leaf(msgspec.Struct, gc=False):
    """A record that changes and refers to nothing that refers back."""


class IdentityLeaf(msgspec.Struct, eq=False, gc=False):
    """A record that changes, equal to itself alone, so that it can be a key."""
