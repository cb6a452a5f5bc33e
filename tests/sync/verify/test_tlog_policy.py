"""Policies in the format of C2SP tlog-policy: its own example, its rules one by one, and one key in two roles."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.formats.notes import ED25519, ED25519_COSIGNATURE, SeedSigner
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import NotProven
from sync.verify.policy import Policy


def key(name: str, algorithm: int = ED25519_COSIGNATURE, seed: str = "") -> str:
    return str(SeedSigner(name, (seed or name).encode().ljust(32, b"-"), algorithm).verifier_key())


LOG = f"log {key('registry.county.example', ED25519)}\n"
W = {name: f"witness {name} {key(f'{name}.example')}\n" for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
EXAMPLE = f"""# The example of the specification.
{LOG}
{W["X1"]}\t{W["X2"]}  {W["X3"]}group X-witnesses 2 X1 X2 X3

{W["Y1"]}{W["Y2"]}{W["Y3"]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y   all X-witnesses\tY-witnesses
  # indented comment
quorum X-and-Y
"""


def test_the_example_of_the_specification() -> None:
    policy = Policy.parse(EXAMPLE.encode())
    assert [log.name for log in policy.logs] == ["registry.county.example"]
    for count in range(7):
        for cosigned in combinations(W, count):
            enough = sum(name[0] == "X" for name in cosigned) >= 2 and any(name[0] == "Y" for name in cosigned)
            assert policy.satisfied_by(cosigned) is enough


def test_no_quorum_wanted() -> None:
    assert Policy.parse((LOG + "quorum none").encode()).satisfied_by(())


def test_a_single_witness_as_quorum_and_names_of_any_letters() -> None:
    policy = Policy.parse((LOG + f"witness 省级 {key('province.example')} https://w.example/\nquorum 省级\n").encode())
    assert policy.satisfied_by({"省级"})
    assert not policy.satisfied_by({"other"})


def test_names_are_octets_not_text() -> None:
    text = (LOG + f"witness K {key('a.example')}\nwitness \u212a {key('b.example')}\nquorum \u212a\n").encode()
    assert not Policy.parse(text).satisfied_by({"K"})
    odd = LOG.encode() + b"witness \xff\xfe " + key("a.example").encode() + b"\nquorum \xff\xfe\n"
    assert Policy.parse(odd).quorum is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quorum none\n", "at least one log"),
        (LOG, "one quorum line"),
        (LOG + "quorum none\nquorum none\n", "exactly one"),
        (LOG + "quorum X1\n" + W["X1"], "not defined on an earlier line"),
        (LOG + LOG + "quorum none\n", "second log"),
        (LOG + W["X1"] + W["X1"].replace("X1 ", "X2 ", 1) + "quorum none\n", "second witness"),
        (LOG + W["X1"] + W["X2"].replace("X2", "X1", 1) + "quorum none\n", "taken"),
        (LOG + f"witness none {key('a.example')}\nquorum none\n", "taken"),
        (LOG + W["X1"] + "group X1 any X1\nquorum none\n", "taken"),
        (LOG + W["X1"] + "group g any X1 X1\nquorum none\n", "member already"),
        (LOG + W["X1"] + "group g any X1\ngroup h any X1\nquorum none\n", "member already"),
        (LOG + "group g any X1\n" + W["X1"] + "quorum none\n", "not defined on an earlier line"),
        (LOG + "group g any g\nquorum none\n", "not defined"),
        (LOG + W["X1"] + "group g any none\nquorum none\n", "not defined"),
        (LOG + W["X1"] + "group g 2 X1\nquorum none\n", "neither"),
        (LOG + W["X1"] + "group g 0 X1\nquorum none\n", "neither"),
        (LOG + W["X1"] + "group g 01 X1\nquorum none\n", "neither"),
        (LOG + W["X1"] + "group g\nquorum none\n", "a group is"),
        (LOG + "group g any\nquorum none\n", "a group is"),
        (f"log {key('registry.county.example')}\nquorum none\n", "signature type 4"),
        (LOG + f"witness w {key('w.example', ED25519)}\nquorum none\n", "signature type 1"),
        (LOG + "witness w nonsense\nquorum none\n", "line 2"),
        (LOG + W["X1"].replace("X1.example+", "X2.example+") + "quorum none\n", "id does not fit"),
        (LOG.rstrip("\n") + "\u00a0\nquorum none\n", "not base64"),
        (LOG + "wittness w\nquorum none\n", "none of log, witness"),
        (LOG.replace("log ", "log\v") + "quorum none\n", "control"),
        (LOG.replace("\n", "\r\n") + "quorum none\n", "control"),
        (LOG + "quorum none\n" + "#" * 70_000, "too large"),
        (LOG + "".join(f"group g{n} any X{n}\n" for n in range(1)) + "quorum none\n", "not defined"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BundleUnreadable, match=said) as caught:
        Policy.parse(text.encode())
    assert caught.value.code == "policy_unreadable"


def test_the_limits_of_the_specification_are_kept() -> None:
    """At least 32 logs, witnesses and groups."""
    lines = [f"log {key(f'registry.{n}.example', ED25519)}" for n in range(32)]
    lines += [f"witness w{n} {key(f'w{n}.example')}" for n in range(32)]
    lines += [f"group g{n} any w{n}" for n in range(31)]
    lines += ["group g31 31 " + " ".join(f"g{n}" for n in range(31)), "quorum g31"]
    policy = Policy.parse("\n".join(lines).encode())
    assert policy.satisfied_by({f"w{n}" for n in range(31)})
    assert not policy.satisfied_by({f"w{n}" for n in range(30)})


def test_one_key_as_log_and_as_witness_is_refused() -> None:
    shared = f"witness w {key('county.example', seed='registry.county.example')}\n"
    with pytest.raises(NotProven) as caught:
        Policy.parse((LOG + shared + "quorum w\n").encode())
    assert caught.value.code == "key_in_two_roles"


@given(st.binary(max_size=300))
def test_noise_is_no_policy_and_never_another_error(data: bytes) -> None:
    with pytest.raises((BundleUnreadable, NotProven)):
        Policy.parse(data)
