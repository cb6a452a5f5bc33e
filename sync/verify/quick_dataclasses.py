"""A stand-in for the standard library's ``dataclasses`` inside the stand-alone verifier, where it bears that name.

Importing the real one, and letting it make forty classes, takes half of the time of a whole verification. This one
makes what our modules use and nothing more: ``__init__`` with defaults, equality, hash, repr, ``field``, ``replace``,
``asdict``, inheritance and ``__post_init__``. ``frozen`` and ``slots`` are promises that the type checker keeps; here
they only say that instances may be hashed. Everywhere else the real module is used; the tests hold both against each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MISSING = object()


class Field:
    """One field: its default, or the function that makes it, and whether ``repr`` shows it."""

    __slots__ = ("default", "default_factory", "name", "repr")

    def __init__(self, default: Any = MISSING, default_factory: Any = MISSING, repr: bool = True) -> None:
        self.name = ""
        self.default, self.default_factory, self.repr = default, default_factory, repr


def field(*, default: Any = MISSING, default_factory: Any = MISSING, repr: bool = True) -> Any:
    return Field(default, default_factory, repr)


def dataclass(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False) -> Any:
    def make(cls: type) -> type:
        return _made(cls, frozen)

    return make if cls is None else make(cls)


def replace(instance: Any, /, **changes: Any) -> Any:
    values = {name: getattr(instance, name) for name in instance.__dataclass_fields__}
    return type(instance)(**{**values, **changes})


def asdict(instance: Any) -> dict[str, Any]:
    return {name: _plain(getattr(instance, name)) for name in instance.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value


def _made(cls: type, frozen: bool) -> type:
    fields: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        fields |= getattr(base, "__dataclass_fields__", {})
    for name in cls.__annotations__:
        default = cls.__dict__.get(name, MISSING)
        described = default if isinstance(default, Field) else Field(default)
        described.name = name
        fields[name] = described
        if isinstance(default, Field):
            if described.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, described.default)
    cls.__dataclass_fields__ = fields  # type: ignore[attr-defined]
    cls.__init__ = _init_when_used(cls, fields)  # type: ignore[misc]
    names = tuple(fields)
    if "__eq__" not in cls.__dict__:
        cls.__eq__ = _equal(names)  # type: ignore[assignment]
        cls.__hash__ = _hash(names) if frozen else None  # type: ignore[assignment]
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr(tuple(name for name in names if fields[name].repr))  # type: ignore[assignment]
    return cls


def _init_when_used(cls: type, fields: dict[str, Field]) -> Callable[..., None]:
    """Half of the classes have no instance in a run, and compiling is what takes time."""

    def first(self: Any, *args: Any, **named: Any) -> None:
        cls.__init__ = made = _init(cls, fields)  # type: ignore[misc]
        made(self, *args, **named)

    return first


def _init(cls: type, fields: dict[str, Field]) -> Callable[..., None]:
    asked, lines, known = [], [], {"MISSING": MISSING}
    for name, described in fields.items():
        if described.default_factory is not MISSING:
            known[f"make_{name}"] = described.default_factory
            asked.append(f"{name}=MISSING")
            lines.append(f" self.{name} = make_{name}() if {name} is MISSING else {name}")
            continue
        if described.default is not MISSING:
            known[f"default_{name}"] = described.default
        asked.append(name if described.default is MISSING else f"{name}=default_{name}")
        lines.append(f" self.{name} = {name}")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__(self, {', '.join(asked)}):\n" + "\n".join(lines or [" pass"]), known)
    made: Callable[..., None] = known["__init__"]  # type: ignore[assignment]
    return made


def _equal(names: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    def equal(self: Any, other: Any) -> Any:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in names)

    return equal


def _hash(names: tuple[str, ...]) -> Callable[[Any], int]:
    return lambda self: hash(tuple(getattr(self, name) for name in names))


def _repr(names: tuple[str, ...]) -> Callable[[Any], str]:
    def said(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return said
