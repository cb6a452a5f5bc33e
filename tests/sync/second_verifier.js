// In the page of the second verifier, built for tests: questions that Python asks its modules (second_verifier.py).
(() => {
  const m = window.verifier;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const verdict = async (work) => {
    try { return await work(); } catch (fault) { return { fault: fault.code ?? String(fault) }; }
  };
  const stay = ({ code, arrived, left, dwell_ms, inferred_ms, flags }) => [code, arrived, left, dwell_ms, inferred_ms, [...flags].sort()];
  const proof = (told) => {
    const entries = told.entries.map(([n, body]) => m.entries.readEntry(m.bytes.utf8(body), n, 'story'));
    const areas = told.areas.map((fields) => new m.areas.Area(fields));
    const evidence = m.visit.evidenceOf(told.visit, entries, told.hidden, areas, told.range);
    return m.month.proofOf(told.visit, told.origin, evidence, m.registry.rulesOf(told.rules), told.bracket, told.decision);
  };
  const plain = ({ evidence: e, ...proof }) => ({
    visit: proof.visit, village: e.village, day: m.calendar.writtenDay(e.day), opened: e.opened, closed: e.closed,
    stays: e.stays.map(stay), dwell_ms: proof.dwell_ms, staff: [...e.staff].map((said) => JSON.parse(said)).sort(),
    served: e.served, encounters: proof.encounters, outreach: e.outreach, witnesses: e.witnesses, review: proof.review,
    flags: [...e.flags].sort(), hidden: e.hidden, merged_into: proof.mergedInto,
  });
  window.asked = {
    check: (bundle, policy) => m.check.check(bytes(bundle), bytes(policy)),
    canonical: (bodies) => bodies.map((body) => m.canonical.readCanonical(bytes(body)) !== null),
    policy: (text) => verdict(async () => { m.policy.readPolicy(bytes(text)); return { fault: null }; }),
    satisfied: (text, names) => {
      const policy = m.policy.readPolicy(bytes(text));
      return names.map((few) => policy.satisfiedBy(few.map((name) => ({ key: policy.witnesses.get(name) }))));
    },
    hashes: (texts) => texts.map((text) => [m.hashes.sha256(bytes(text)), m.hashes.sha512(bytes(text))].map(m.bytes.hex)),
    signatures: async (lines) => Promise.all(lines.map(async (line) => {
      const [key, message, signature] = line.map(bytes);
      return [await m.ed25519.verifies(key, message, signature), m.ed25519.isSoundKey(key) && m.ed25519.verifiesByHand(key, message, signature)];
    })),
    stays: (areas, fixes) => {
      const presence = new m.presence.Presence(areas.map((fields) => new m.areas.Area(fields)), () => null, () => null);
      const ended = fixes.flatMap(([at, latitude, longitude, accuracy_m, satellites]) => (
        presence.feed({ at, latitude, longitude, accuracy_m, satellites, spoof: false, fix: true })));
      return [...ended, ...(presence.open ? [presence.open.stay(null)] : [])].map(stay);
    },
    judge: (stories, rules) => {
      const found = m.conflicts.compared(m.month.merged(stories.map(proof).sort((one, other) => (
        one.evidence.opened - other.evidence.opened || m.bytes.compareTexts(one.visit, other.visit)))));
      const months = new Map();
      for (const one of found) {
        const key = one.evidence.village + m.calendar.monthOf(one.evidence.day);
        months.set(key, [...months.get(key) ?? [], one]);
      }
      const verdicts = new Map([...months.values()].flatMap((month) => [...m.month.judgeMonth(month, m.registry.rulesOf(rules)).verdicts]));
      return found.map((one) => ({ ...plain(one), verdict: verdicts.get(one.visit) }));
    },
  };
})()
