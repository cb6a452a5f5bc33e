"""Building blocks of FHIR R4 (4.0.1): names of resources, references, codes, quantities. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Element: TypeAlias = "dict[str, Any]"

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
MDC = "urn:iso:std:iso:11073:10101"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
URI = "urn:ietf:rfc:3986"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://xunzhen.invalid/fhir")
"""Never changed: who received a resource knows it again by its name."""


class Names:
    """Names of the resources of one van's journal, the same whenever they are asked."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def id(self, resource_type: str, *names: str) -> str:
        """The logical id of what our ``names`` name together."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((self.origin, resource_type, *names))))

    def reference(self, resource_type: str, *names: str, display: str = "") -> Element:
        """To a resource of the same bundle."""
        return drop_empty(
            {"reference": f"urn:uuid:{self.id(resource_type, *names)}", "type": resource_type, "display": display}
        )

    def identifier(self, kind: str, value: str) -> Element:
        """Our own name, unique together with ``system``."""
        return {"system": f"urn:xunzhen:{self.origin}:{kind}", "value": value}


def drop_empty(element: Mapping[str, Any]) -> Element:
    """Without members that say nothing: FHIR knows no empty string, list or object."""
    return {name: value for name, value in element.items() if value not in (None, "", [], {}, ())}


def coding(system: str, code: str, display: str = "") -> Element:
    return drop_empty({"system": system, "code": code, "display": display})


def concept(*codings: Element, text: str = "") -> Element:
    return drop_empty({"coding": [*codings], "text": text})


def terminology(system: str, code: str, display: str = "") -> Element:
    """A concept of HL7's own terminology: ``terminology("observation-category", "laboratory")``."""
    return concept(coding(f"{TERMINOLOGY}/{system}", code, display))


def quantity(value: Decimal, ucum: str, comparator: str = "") -> Element:
    return drop_empty(
        {"value": number(value), "comparator": comparator, "unit": ucum, "system": UCUM, "code": ucum},
    )


def number(value: Decimal) -> int | float:
    """As JSON writes it."""
    return int(value) if value == value.to_integral_value() else float(value)


def person(name: str, organisation: str = "") -> Element:
    """Somebody who is named but is no resource of the bundle."""
    return {"display": ", ".join(part for part in (name, organisation) if part) or "unknown"}
