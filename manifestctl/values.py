"""`dataclass`, made in less than half of the time.

A run makes some seventy classes of values before its first request, and the standard decorator compiles six functions
for each: in all a fifth of the start-up. Here ``__repr__``, ``__eq__`` and ``__hash__`` are the same three functions
for all classes. Nothing else differs, and to type checkers it is the standard decorator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - an explicit re-export
else:
    import dataclasses

    def dataclass(cls=None, /, **options):
        """Make a dataclass, as `dataclasses.dataclass` does."""
        return _made(cls, options) if cls is not None else lambda cls: _made(cls, options)

    def _made(cls, options):
        if options.get("order"):
            return dataclasses.dataclass(**options)(cls)
        own = cls.__dict__
        given = {name for name in ("__repr__", "__eq__", "__hash__") if own.get(name) is not None}
        # Without a docstring the decorator would work out a signature to use as one.
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__
        cls = dataclasses.dataclass(repr=False, eq=False, **options)(cls)
        if "__repr__" not in given:
            cls.__repr__ = _repr
        if "__eq__" not in given:
            cls.__eq__ = _eq
        if "__hash__" not in given:
            cls.__hash__ = _hash if options.get("frozen") else None
        return cls

    def _repr(self):
        shown = (field.name for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        compared = [field.name for field in dataclasses.fields(self) if field.compare]
        return all(getattr(self, name) == getattr(other, name) for name in compared)

    def _hash(self):
        hashed = (
            field.name for field in dataclasses.fields(self) if (field.compare if field.hash is None else field.hash)
        )
        return hash(tuple(getattr(self, name) for name in hashed))
