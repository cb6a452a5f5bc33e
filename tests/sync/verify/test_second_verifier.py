"""Two verifiers that share no code come to the same about every bundle, good or tampered with, and every story."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256, sha512
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync import verify_html
from sync.formats import canonical, ed25519
from sync.formats.canonical import NotCanonical
from sync.formats.notes import SeedSigner
from sync.proof.areas import Village
from sync.proof.bundle_file import read_members, write_members
from sync.proof.coverage import Rules, end_of_month, judge_month
from sync.proof.evidence import write_bundle
from sync.proof.registry_entries import village_fields, village_of
from sync.proof.visit_conflicts import compared
from sync.proof.visit_proof import VisitProof, facts_of_visit, merged
from sync.proof.visit_track import PROOF_KINDS
from sync.verify.bundle_check import LONG_AFTER
from sync.verify.policy import Policy
from tests.sync.evidence_attacks import (
    ATTACKS,
    SEVEN,
    Attack,
    Case,
    Month,
    case_of,
    cosigned_again,
    edited,
    hidden,
    resealed,
)
from tests.sync.evidence_county import PROVINCE, SIGN_JPEG
from tests.sync.proof.test_coverage_cases import CASES, villages_of
from tests.sync.proof.test_presence_shortcut import VILLAGES as SQUARES
from tests.sync.proof.test_presence_shortcut import Thorough, followed, walk
from tests.sync.proof.test_visit_properties import NEAR, RULES, stories
from tests.sync.second_verifier import Story, Verifier, agree, base64, by_us, codes, opened, same_stay
from tests.sync.verify.test_tlog_policy import EXAMPLE
from tests.sync.visit_script import Log, around, logs

pytestmark = pytest.mark.browser

NO_SUBTLE = "Object.defineProperty(crypto, 'subtle', { value: undefined })"
FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


# the page -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_an_inspector_drops_two_files_on_the_page(
    browser: Any, tmp_path: Path, bundles: Mapping[str, bytes], case: Case, language: str
) -> None:
    """The file as it is given away, from disk, without a network: nothing is asked for but the file itself."""
    for name, content in (("verify.html", verify_html.build()), ("e.zip", bundles["first"]), ("policy.txt", b"")):
        (tmp_path / name).write_bytes(content or case.text.encode())
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: complaints.append(line.text))
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.goto((tmp_path / "verify.html").as_uri())
    if language == "en":
        page.get_by_test_id("language").click()
    page.get_by_test_id("choose-bundle").set_input_files(tmp_path / "e.zip")
    page.get_by_test_id("choose-policy").set_input_files(tmp_path / "policy.txt")
    page.get_by_test_id("verdict").wait_for()
    assert page.locator("html").get_attribute("lang") == language
    assert page.get_by_test_id("verdict").get_attribute("data-result") == "valid"
    assert page.locator("[data-testid=steps] [data-met=yes]").count() == 8
    said = page.get_by_test_id("visit").inner_text()
    for figure in (
        "2026-09-01 08:16:20",
        "2026-09-01 12:25:00",
        "zhou.min",
        "2026-09-01 07:40:00",
        "2026-09-01 13:00:00",
    ):
        assert figure in said
    assert by_us(bundles["first"], case.text.encode())["sha256"] == page.get_by_test_id("sha256").inner_text().replace(
        " ", ""
    )
    (tmp_path / "sign.jpg").write_bytes(SIGN_JPEG)
    (tmp_path / "other.png").write_bytes(SIGN_JPEG[1:])
    drop(page, tmp_path / "sign.jpg")
    assert "sign.jpg" in page.locator("[data-testid=picture] [data-agrees=true]").inner_text()
    drop(page, tmp_path / "other.png")
    assert "other.png" in page.get_by_test_id("picture-unknown").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (asked, complaints) == ([(tmp_path / "verify.html").as_uri()], [])
    context.close()


def drop(page: Any, file: Path) -> None:
    """A file let go over the page."""
    page.evaluate(
        "([name, bytes]) => { const files = new DataTransfer();"
        " files.items.add(new File([Uint8Array.from(bytes)], name));"
        " window.dispatchEvent(new DragEvent('drop', { dataTransfer: files, cancelable: true })); }",
        [file.name, list(file.read_bytes())],
    )


def test_the_reason_is_told_and_the_step_that_failed(browser: Any, tmp_path: Path, case: Case) -> None:
    attack = next(one for one in ATTACKS if one.name == "back dated entry")
    (tmp_path / "verify.html").write_bytes(verify_html.build())
    (tmp_path / "e.zip").write_bytes(write_bundle(attack.make(case)))
    (tmp_path / "policy.txt").write_text(case.text, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "verify.html").as_uri())
    page.get_by_test_id("choose-policy").set_input_files(tmp_path / "policy.txt")
    page.get_by_test_id("choose-bundle").set_input_files(tmp_path / "e.zip")
    page.get_by_test_id("verdict").wait_for()
    assert page.get_by_test_id("verdict").get_attribute("data-result") == "invalid"
    assert "有条目被改动" in page.get_by_test_id("faults").inner_text()
    assert [page.locator(f"[data-met={met}]").count() for met in ("yes", "no", "later")] == [5, 1, 2]
    page.close()


def test_every_fault_and_word_is_said_in_both_languages(second: Verifier) -> None:
    codes = {code for one in ATTACKS for code in one.codes} - {"valid"}
    for language in ("zh", "en"):
        said = second.page.evaluate(
            "([language, codes]) => codes.map((code) => window.verifier.words.wordOf("
            "window.verifier.words.wordsOf(language), 'fault', code))",
            [language, sorted(codes)],
        )
        assert set(said) & codes == set()


# bundles --------------------------------------------------------------------------------------------------------------


def test_every_good_bundle_is_found_the_same_by_both(
    second: Verifier, bundles: Mapping[str, bytes], case: Case
) -> None:
    found = {name: agree(second, data, case.text.encode()) for name, data in bundles.items()}
    assert {report["result"] for report in found.values()} == {"valid"}
    assert {visit["state"] for report in found.values() for visit in report["visits"]} >= {
        "counted",
        "short",
        "not_counted",
    }


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name)
def test_every_attack_is_found_the_same_by_both(second: Verifier, case: Case, one: Attack) -> None:
    agree(second, write_bundle(one.make(case)), case.text.encode())


def test_without_the_browser_s_own_cryptography_it_is_the_same(
    browser: Any, tmp_path: Path, bundles: Mapping[str, bytes], case: Case
) -> None:
    """As in browsers without Ed25519, or where a page from a file has none at all."""
    with opened(browser, tmp_path, NO_SUBTLE) as alone:
        assert alone.page.evaluate("crypto.subtle === undefined")
        agree(alone, bundles["month 0"], case.text.encode())
        damaged = next(one for one in ATTACKS if one.name == "damaged signature of the county")
        agree(alone, write_bundle(damaged.make(case)), case.text.encode())


def test_what_a_reviewer_decided_and_a_rule_that_changed(second: Verifier, evidence_month: Month) -> None:
    """The registry goes on by a review and a rule, signed by everybody whom the policy names."""
    for name, decision in (("short", "counted"), ("first", "refused"), ("few staff", "counted")):
        known = case_of(evidence_month, name)
        (claim,) = known.bundle.manifest.visits
        part, size = known.bundle.registry, known.report.registry.signed.checkpoint.size
        index = canonical.loads(part.entries[size - 1])
        common = {"at": "2026-09-20T02:00:00.000Z", "by": "xu.jing"}
        made = {"origin": claim.origin, "decision": decision, "reason": "现场核实", **common}
        reviews = {**common, "kind": "reviews/1", "n": size, "month": "2026-09", "decided": {claim.visit: made}}
        rules = {
            **common,
            "kind": "rules/1",
            "n": size + 1,
            "version": 2,
            "rules": {"version": 2, "staff": 1, "dwell_s": 60},
        }
        pointers = {**index, "n": size + 2, "reviews": {"2026-09": size}, "rules": size + 1}
        drafts = [reviews, {**rules, "before": index["rules"]} if "rules" in index else rules, pointers]
        entries = {**part.entries, **{size + n: canonical.dumps(said) for n, said in enumerate(drafts)}}
        grown = cosigned_again(replace(part, entries=entries), size + 3, known)
        found = agree(second, write_bundle(replace(known.bundle, registry=grown)), known.text.encode())
        (visit,) = found["visits"]
        assert "decided_by_reviewer" in visit["flags"]
        assert visit["state"] == ("not_counted" if decision == "refused" else "counted")


@pytest.mark.parametrize(
    "said",
    [
        {"mono_ms": canonical.LARGEST_INTEGER},
        {"mono_ms": -canonical.LARGEST_INTEGER},
        {"at": "9999-12-31T23:59:59.999Z", "mono_ms": 0},
        {"at": "0001-01-01T00:00:00.000Z", "mono_ms": canonical.LARGEST_INTEGER},
        {"started_at": "0001-01-01T00:00:00.000Z"},
        {"started_at": "9999-12-31T23:59:59.999Z"},
    ],
)
def test_a_clock_beyond_the_calendar_is_judged_the_same_by_both(
    second: Verifier, case: Case, said: dict[str, Any]
) -> None:
    """The vehicle signs it, county and province cosign what they are given."""
    place = [n for n in case.places("track/1") if n > case.places("visit_opened/1")[0]][3]
    changed = replace(case.journal, entries=edited(case.journal, place, **said))
    sealed = resealed(changed, SEVEN, [case.vehicle, case.county, PROVINCE])
    before = {size: note for size, note in case.journal.checkpoints.items() if size <= place}
    bundle = case.with_journal(entries=sealed.entries, checkpoints={**sealed.checkpoints, **before})
    found = agree(second, write_bundle(bundle), case.text.encode())
    (visit,) = found["visits"]
    assert ("clock_stepped" in visit["reasons"]) == ("mono_ms" in said)


@pytest.mark.parametrize("seed", range(8))
def test_places_hidden_at_random_give_the_same_verdict(second: Verifier, case: Case, seed: int) -> None:
    """The manifest says what comes out of it, so that both judge it to the end."""
    chance = random.Random(seed)
    kept = {*case.places("boot/1"), *case.places("visit_opened/1"), *case.places("anchor/1")}
    free = sorted(case.journal.entries.keys() - kept)
    gone = chance.sample(free, chance.randint(1, 12))
    bundle = replace(case.bundle, journals={SEVEN: hidden(case.journal, gone)})
    first = by_us(write_bundle(bundle), case.text.encode())
    states = {visit["visit"]: visit["state"] for visit in first.get("visits", ())}
    claims = tuple(replace(claim, state=states.get(claim.visit, claim.state)) for claim in bundle.manifest.visits)
    honest = replace(bundle, manifest=replace(bundle.manifest, visits=claims))
    found = agree(second, write_bundle(honest), case.text.encode())
    assert found["result"] == ("valid" if states else "invalid")


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_are_found_the_same_by_both(second: Verifier, case: Case, seed: int) -> None:
    """Inside of members, packed again so that the archive is sound."""
    chance = random.Random(seed)
    members = read_members(write_bundle(case.bundle))
    for _ in range(25):
        name = chance.choice(sorted(members))
        changed = _changed(members[name], chance)
        agree(second, write_members({**members, name: changed}), case.text.encode(), codes_too=False)


@pytest.mark.parametrize("seed", range(2))
def test_random_changes_of_the_file_are_found_the_same_by_both(second: Verifier, case: Case, seed: int) -> None:
    chance, good = random.Random(seed), write_bundle(case.bundle)
    headers = [*range(len(good) - 22, len(good)), *range(60)]
    for number in range(40):
        changed = bytearray(good)
        if number % 2:
            changed[chance.choice(headers)] ^= 1 << chance.randrange(8)
            agree(second, bytes(changed), case.text.encode())
        else:
            agree(second, _changed(good, chance), case.text.encode(), codes_too=False)


def _changed(data: bytes, chance: random.Random) -> bytes:
    changed, place = bytearray(data), chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            changed[place] ^= 1 << chance.randrange(8)
        case 1:
            changed.insert(place, chance.choice(b'0:{}[]",\n A\x80'))
        case 2:
            del changed[place]
        case _:
            del changed[place:]
    return bytes(changed)


# stories --------------------------------------------------------------------------------------------------------------


def in_e7(villages: Sequence[Village]) -> list[Village]:
    """As a registry gives them."""
    return [village_of(village_fields(village)) for village in villages]


def judged(proofs: Sequence[VisitProof], rules: Rules) -> list[dict[str, Any]]:
    """What ``sync`` says, in the words of ``Verifier.judge``."""
    months: dict[tuple[str, Any], list[VisitProof]] = {}
    for proof in proofs:
        months.setdefault((proof.facts.village, proof.facts.day.replace(day=1)), []).append(proof)
    verdicts = {}
    for (village, month), found in months.items():
        facts, today = [proof.facts for proof in found], end_of_month(month) + LONG_AFTER
        verdicts |= judge_month(village, month, facts, rules, today=today).visits
    return [_plain(proof, verdicts[proof.facts.visit]) for proof in proofs]


def _plain(proof: VisitProof, verdict: Any) -> dict[str, Any]:
    facts, evidence = proof.facts, proof.evidence
    moments = {"opened": evidence.opened_at, "closed": evidence.closed_at}
    return {
        **{name: round(at.timestamp() * 1000) if at else None for name, at in moments.items()},
        "visit": facts.visit,
        "village": facts.village,
        "day": facts.day.isoformat(),
        "stays": [same_stay(stay) for stay in proof.stays],
        "dwell_ms": round(facts.dwell_s * 1000) if facts.dwell_s is not None else None,
        "staff": sorted([person, role] for person, role in facts.staff),
        "served": [round(at.timestamp() * 1000) for at in evidence.served],
        "encounters": facts.encounters,
        "outreach": facts.outreach,
        "witnesses": {one.name: one.agrees for one in proof.witnesses},
        "review": list(facts.review),
        "flags": sorted(facts.flags),
        "hidden": evidence.hidden,
        "merged_into": facts.merged_into,
        "verdict": {"state": str(verdict.state), "reasons": list(verdict.reasons), "flags": list(verdict.flags)},
    }


def told(
    log: Log, visit: str, near: Sequence[Village], rules: Rules, gone: set[int], word: str | None
) -> tuple[VisitProof, Story]:
    """One visit of a log with some places hidden: what ``sync`` says, and the same as a story."""
    shown = [entry for entry in log.entries if entry.n not in gone]
    bracket = log.bracket(visit)
    proof = facts_of_visit(visit, shown, gone, near, rules, bracket, None, origin=log.van)
    proof = replace(proof, facts=replace(proof.facts, decision=word))
    return proof, Story(proof.evidence, log.van, shown, sorted(gone), near, bracket, word)


@pytest.mark.parametrize("case", CASES, ids=[case["en"] for case in CASES])
def test_every_case_of_the_table_is_judged_the_same_by_both(second: Verifier, case: dict[str, Any]) -> None:
    rules, villages = Rules(**case.get("rules", {})), in_e7(villages_of(case))
    both = []
    for log in logs(case["happened"]):
        gone = {entry.n for entry in log.entries if entry.kind not in PROOF_KINDS}
        for visit in log.visits:
            named = next(one for one in log.entries if one.kind == "visit_opened/1" and one.fields["visit_id"] == visit)
            near = around(named.fields["village"], villages)
            both.append(told(log, visit, near, rules, gone, case.get("decide", {}).get(visit)))
    proofs = sorted((proof for proof, _ in both), key=lambda proof: (proof.evidence.opened_at, proof.facts.visit))
    assert second.judge([story for _, story in both], rules) == judged(compared(merged(proofs)), rules)


@pytest.mark.parametrize("opens", ["C", "A"])
def test_a_visit_before_whose_opening_is_hidden_is_judged_the_same_by_both(second: Verifier, opens: str) -> None:
    """Both villages overlap where the van stands, and it cannot be known for which of them it came first."""
    first = ["07:30 starts", "07:32 delivers", "07:50 leaves", "08:20 arrives overlap", f"08:23 opens {opens}"]
    (log,) = logs([*first, "09:30 closes", "09:40 opens A", "10:10 serves", "12:30 closes", "12:31 delivers"])
    (gone,) = [
        entry.n for entry in log.entries if entry.fields.get("visit_id") == log.visits[0] and "crew" in entry.fields
    ]
    for hiding in (set(), {gone}):
        proof, story = told(log, log.visits[1], in_e7(NEAR), RULES, hiding, None)
        assert second.judge([story], RULES) == judged([proof], RULES)


@FEW
@given(log=stories(), chance=st.randoms(use_true_random=False), part=st.sampled_from([0.0, 0.1, 0.4]))
def test_any_story_is_judged_the_same_by_both(second: Verifier, log: Log, chance: random.Random, part: float) -> None:
    near, visit = in_e7(NEAR), log.visits[0]
    free = [entry for entry in log.entries if entry.kind != "visit_opened/1"]
    gone = {entry.n for entry in free if entry.kind not in PROOF_KINDS or chance.random() < part}
    proof, story = told(log, visit, near, RULES, gone, None)
    assert second.judge([story], RULES) == judged([proof], RULES)


@pytest.mark.parametrize("seed", range(12))
def test_any_walk_between_villages_is_followed_the_same_by_both(second: Verifier, seed: int) -> None:
    villages = in_e7([replace(village, code=f"{ord(village.code):012d}") for village in SQUARES])
    fixes = walk(seed, [0.2, 3.0, 15.0][seed % 3], [40.0, 300.0][seed % 2])
    events, last = followed(Thorough(villages), fixes)
    stays = [event.stay for event in events if hasattr(event, "stay")] + ([last] if last is not None else [])  # type: ignore[attr-defined]
    given_fixes = [
        [round(fix.at.timestamp() * 1000), fix.latitude_deg, fix.longitude_deg, fix.accuracy_m, fix.satellites]
        for fix in fixes
    ]
    fields = [village_fields(village) for village in villages]
    assert second.ask("stays", fields, given_fixes) == [same_stay(stay) for stay in stays]


# parts ----------------------------------------------------------------------------------------------------------------


def test_hashes_and_signatures_are_those_of_the_standards(second: Verifier) -> None:
    chance = random.Random(5)
    texts = [chance.randbytes(length) for length in (*range(0, 140, 3), 111, 112, 119, 120, 127, 128, 200, 1000)]
    expected = [[sha256(text).hexdigest(), sha512(text).hexdigest()] for text in texts]
    assert second.ask("hashes", [base64(text) for text in texts]) == expected
    signer = SeedSigner("a.example", b"a" * 32)
    key, good = signer.verifier_key().public_key, signer.sign(b"text")
    small = (1).to_bytes(32, "little")
    order = (int.from_bytes(good[32:], "little") + ed25519.L).to_bytes(32, "little")
    lines = [
        (key, b"text", good),
        (key, b"test", good),
        (key, b"text", good[:32] + order),
        (key, b"text", small + bytes(32)),
    ]
    lines += [(small, b"text", small + bytes(32)), (bytes(31) + b"\x80", b"text", good), (b"\xff" * 32, b"text", good)]
    for _ in range(20):
        place, changed = chance.randrange(64), bytearray(good)
        changed[place] ^= 1 << chance.randrange(8)
        lines.append((key, b"text", bytes(changed)))
    found = second.ask("signatures", [[base64(part) for part in line] for line in lines])
    assert found == [[True, True]] + [[False, False]] * (len(lines) - 1)


def test_canonical_json_is_the_same_for_both(second: Verifier) -> None:
    bodies = [
        *[
            b"",
            b"[]",
            b'""',
            b"null",
            b"{}",
            b'{"a":1}',
            b'{"a":1.0}',
            b'{"a":-0}',
            b'{"a":-1}',
            b'{"a":01}',
            b'{"a":1e2}',
        ],
        *[b'{"a":1}\n', b' {"a":1}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{"a":null}', b'{"a":NaN}'],
        *[b'{"a":9007199254740991}', b'{"a":9007199254740992}', b'{"a":9007199254740993}', b'{"a":-9007199254740992}'],
        *[
            b'{"a":"\\u0041"}',
            b'{"a":"\\u001f"}',
            b'{"a":"\\u001F"}',
            b'{"a":"\\n\\/"}',
            b'{"a":"\\n\\""}',
            b'{"a":"\x7f"}',
        ],
        *[
            b'{"a":"\xed\xa0\x80"}',
            b'{"a":"\\ud800"}',
            b'{"a":"\\ud83d\\ude00"}',
            '{"a":"😀"}'.encode(),
            '{"ä":1}'.encode(),
        ],
        *[
            b"\xef\xbb\xbf{}",
            b"\xff",
            b'{"10":1,"9":2}',
            b'{"9":2,"10":1}',
            b'{"__proto__":1}',
            b'{"constructor":{"a":[]}}',
        ],
        *[b'{"a":' * deep + b"1" + b"}" * deep for deep in (31, 32, 33, 34, 3000)],
        *[b'{"a":' + b"[" * deep + b"]" * deep + b"}" for deep in (31, 32, 33, 3000)],
    ]
    assert second.ask("canonical", [base64(body) for body in bodies]) == [_is_canonical(body) for body in bodies]


def _is_canonical(body: bytes) -> bool:
    try:
        canonical.loads(body)
    except NotCanonical:
        return False
    return True


def test_policies_are_read_the_same_by_both(second: Verifier) -> None:
    chance, lines = random.Random(3), EXAMPLE.encode().splitlines(keepends=True)
    names = [list(few) for count in range(7) for few in combinations(("X1", "X2", "X3", "Y1", "Y2", "Y3"), count)]
    policy = Policy.parse(EXAMPLE.encode())
    assert second.ask("satisfied", base64(EXAMPLE.encode()), names) == [policy.satisfied_by(few) for few in names]
    for space in ("\u00a0", "\u3000", "\u200b"):  # the last is no white space, and no base64 either
        text = EXAMPLE.replace("\n", f"{space}\n", 2).encode()
        assert codes(by_us(b"", text)) == ["policy_unreadable"]
        assert second.ask("policy", base64(text)) == {"fault": "policy_unreadable"}
    for _ in range(150):
        changed = list(lines)
        match chance.randrange(4):
            case 0:
                changed.insert(chance.randrange(len(lines)), chance.choice(lines))
            case 1:
                del changed[chance.randrange(len(lines))]
            case 2:
                chance.shuffle(changed)
            case _:
                changed = [_changed(b"".join(lines), chance)]
        text = b"".join(changed)
        ours = by_us(b"", text)
        fault = codes(ours)[0] if codes(ours)[0] != "bundle_unreadable" else None
        assert second.ask("policy", base64(text)) == {"fault": fault}, text
