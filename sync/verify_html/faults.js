// Two ways in which evidence fails; codes are the words of docs/evidence.md.

/** Nothing can be judged: the file or the policy is damaged or of another kind. */
export class Unreadable extends Error {
  /** @param {string} code @param {string} detail */
  constructor(code, detail) { super(detail); this.code = code; }
}

/** It can be read, and does not prove what it claims. */
export class NotProven extends Error {
  /** @param {string} code @param {string} detail */
  constructor(code, detail) { super(detail); this.code = code; }
}
