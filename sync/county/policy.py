"""The policy file by which anybody verifies the county's evidence: C2SP tlog-policy."""

from __future__ import annotations

from sync.formats.notes import VerifierKey


def policy_text(registry: VerifierKey, county: VerifierKey, province: VerifierKey | None) -> str:
    """Names the registry's log and who must have cosigned; without a province's witness the county alone."""
    lines = [
        f"# Evidence of {county.name}. Take these keys from county and province themselves, not from",
        "# whoever shows you the evidence.",
        f"log {registry}",
        f"witness county {county}",
    ]
    if province is None:
        lines += [
            "# This county has no province witness: nobody but the county vouches for its records.",
            "quorum county",
        ]
    else:
        lines += [f"witness province {province}", "group both all county province", "quorum both"]
    return "\n".join(lines)
