"""`dataclass`, made in a fifth of the time.

A run makes some eighty classes of values before its first request, and the standard decorator compiles six functions
for each: in all a fifth of the start-up. Here all classes share the same few functions, and nothing is compiled.
Otherwise it is the standard decorator, which finds the fields and makes the slots, and that is what type checkers see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - an explicit re-export
else:
    import dataclasses

    _set = object.__setattr__

    def dataclass(cls=None, /, **options):
        """Make a dataclass, as `dataclasses.dataclass` does."""
        return _made(cls, options) if cls is not None else lambda cls: _made(cls, options)

    def _made(cls, options):
        frozen, order = options.pop("frozen", False), options.pop("order", False)
        own = {name for name in _SHARED if cls.__dict__.get(name) is not None}
        # Without a docstring the decorator would work out a signature to use as one.
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__
        cls = dataclasses.dataclass(init=False, repr=False, eq=False, **options)(cls)
        cls.__init__ = _initializer(cls)
        cls.__signature__ = _SIGNATURE
        shared = {**_SHARED, **(_ORDER if order else {}), **(_FROZEN if frozen else {"__hash__": None})}
        for name, function in shared.items():
            if name not in own:
                setattr(cls, name, function)
        return cls

    def _initializer(cls):
        fields = dataclasses.fields(cls)
        names = [field.name for field in fields if field.init and not field.kw_only]
        taken = [*names, *(field.name for field in fields if field.init and field.kw_only)]
        # Of each field that may be left out: its value, or what makes it.
        values = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        makers = {field.name: field.default_factory for field in fields if field.default is dataclasses.MISSING}
        made = [field.name for field in fields if not field.init and (field.name in values or _makes(makers, field))]
        ends = hasattr(cls, "__post_init__")

        def __init__(self, *arguments, **given):  # noqa: N807 - it becomes the method
            if len(arguments) > len(names):
                raise TypeError(f"{cls.__name__} takes {len(names)} positional arguments, not {len(arguments)}")
            for name, value in zip(names, arguments, strict=False):
                _set(self, name, value)
            for name in (*taken[len(arguments) :], *made):
                if name in given:
                    value = given.pop(name)
                elif name in values:
                    value = values[name]
                elif makers[name] is not dataclasses.MISSING:
                    value = makers[name]()
                else:
                    raise TypeError(f"{cls.__name__} lacks the argument {name!r}")
                _set(self, name, value)
            if given:
                raise TypeError(f"{cls.__name__} takes no argument {next(iter(given))!r}, or it is given twice")
            if ends:
                self.__post_init__()

        return __init__

    def _makes(makers, field):
        return makers.get(field.name, dataclasses.MISSING) is not dataclasses.MISSING

    class _Signature:
        """The signature of a class, worked out when somebody asks for it."""

        def __get__(self, instance, cls):
            from inspect import Parameter, Signature

            parameters = []
            for field in dataclasses.fields(cls):
                default = Parameter.empty if field.default is dataclasses.MISSING else field.default
                if default is Parameter.empty and field.default_factory is not dataclasses.MISSING:
                    default = field.default_factory
                kind = Parameter.KEYWORD_ONLY if field.kw_only else Parameter.POSITIONAL_OR_KEYWORD
                if field.init:
                    parameters.append(Parameter(field.name, kind, default=default, annotation=field.type))
            return Signature(parameters)

    _SIGNATURE = _Signature()

    def _repr(self):
        shown = (field.name for field in dataclasses.fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _compared(self):
        return tuple([getattr(self, field.name) for field in dataclasses.fields(self) if field.compare])

    def _eq(self, other):
        return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _lt(self, other):
        return _compared(self) < _compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _le(self, other):
        return _compared(self) <= _compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        hashed = (
            field.name for field in dataclasses.fields(self) if (field.compare if field.hash is None else field.hash)
        )
        return hash(tuple(getattr(self, name) for name in hashed))

    def _stay(self, name, *_):
        raise dataclasses.FrozenInstanceError(
            f"{type(self).__name__} does not change: {name!r} cannot be set or deleted"
        )

    def _getstate(self):
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def _setstate(self, state):
        for field, value in zip(dataclasses.fields(self), state, strict=True):
            _set(self, field.name, value)

    # What a class has of these by itself stays.
    _SHARED = {"__repr__": _repr, "__eq__": _eq, "__hash__": None}
    # The other two follow: Python asks the other side.
    _ORDER = {"__lt__": _lt, "__le__": _le}
    _FROZEN = {
        "__hash__": _hash,
        "__setattr__": _stay,
        "__delattr__": _stay,
        "__getstate__": _getstate,
        "__setstate__": _setstate,
    }
