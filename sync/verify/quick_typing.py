"""What our modules use of the standard library's ``typing``, for the stand-alone verifier, whose modules import this.

Importing the real one takes as long as five signatures, and at run time nothing is needed of it but names and
``NamedTuple``. Everywhere else the real module is used; the tests hold both against each other.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False


class _Named:
    """Only written in annotations, which nobody evaluates, or as the base of a class that is never made."""


Any = NoReturn = TypeAlias = Protocol = _Named


class _FieldsOfClass(type):
    """Makes the tuple when a class names ``NamedTuple`` as its base: fields and defaults are what its body says."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
        if not bases:
            return super().__new__(cls, name, bases, body)
        fields = [*body["__annotations__"]]  # type: ignore[misc]
        defaults = [body[field] for field in fields if field in body]
        made = namedtuple(name, fields, defaults=defaults, module=str(body["__module__"]))  # type: ignore[misc]
        for key, value in body.items():
            if key not in fields and key not in ("__annotations__", "__module__", "__qualname__"):
                setattr(made, key, value)
        return made


class NamedTuple(metaclass=_FieldsOfClass):
    """As the real one, without inheritance from what it makes."""
