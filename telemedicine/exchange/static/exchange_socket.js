// The page's line to the exchange: JSON messages by type, comes back by itself.

const FIRST_PAUSE_MS = 500, LAST_PAUSE_MS = 8000;
const PING_EVERY_MS = 5000, PONG_WITHIN_MS = 4000, SLEPT_MS = 4000, LOOK_EVERY_MS = 1000, OPEN_WITHIN_MS = 10_000, ANSWER_WITHIN_MS = 4000;

/** @typedef {{ consultation: string, state: string, origin: string, urgency: string, requested_at: string, summary: any,
 *   specialist: string | null, session_over: boolean, people: { id: string, name: string, title: string, role: string, invited_by: string }[], van_online: boolean, opinion: { in_journal: boolean, content: any } | null,
 *   dtls_fingerprint: string | null, decision: { decision: string, plan?: string, by_name?: string } | null }} Case */

export class ExchangeSocket {
  constructor() {
    /** @type {Map<string, ((message: any) => void)[]>} */
    this.listeners = new Map();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.pauseMs = FIRST_PAUSE_MS;
    this.online = false;
    this.aheadMs = 0;                          // the server's clock less ours
    this.pingedAt = 0;                         // unanswered since
    this.heardAt = 0;
    this.startedAt = 0;
    this.retry = 0;
    /** @type {number | undefined} */
    this.looking = undefined;
  }

  /** @param {string} type "line" tells { online } @param {(message: any) => void} callback */
  on(type, callback) {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), callback]);
    return this;
  }

  /** @param {object} message @returns {boolean} false while the line is down */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The time by the server's clock: what is signed must not depend on this computer's. */
  now() { return new Date(Date.now() + this.aheadMs); }

  start() {
    const address = new URL('/exchange/specialist', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    const socket = new WebSocket(address.href);
    this.socket = socket;
    this.startedAt = Date.now();
    this.heardAt = this.startedAt;
    this.pingedAt = 0;
    this.#look();
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.heardAt = Date.now();
      this.pingedAt = 0;
      const message = JSON.parse(data);
      if (message.type === 'pong') this.aheadMs = Date.parse(message.now) - Date.now();
      if (message.type === 'welcome') {
        this.pauseMs = FIRST_PAUSE_MS;
        this.online = true;
        this.aheadMs = Date.parse(message.now) - Date.now();
        this.#tell('line', { online: true });
      }
      this.#tell(message.type, message);
    };
    socket.onclose = () => { if (socket === this.socket) this.#lost(); };
    return this;
  }

  #lost() {
    this.socket = null;
    this.online = false;
    this.#tell('line', { online: false });
    clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.#again(), this.pauseMs * (.75 + Math.random() / 2));
    this.pauseMs = Math.min(LAST_PAUSE_MS, this.pauseMs * 2);
  }

  /**
   * A computer that slept, or whose network has changed, keeps a dead socket for minutes without a word: ask often, and
   * at once when our own clock has jumped.
   */
  #look() {
    if (this.looking) return;
    let lookedAt = Date.now();
    this.looking = setInterval(() => {
      const now = Date.now(), slept = now - lookedAt > SLEPT_MS;
      lookedAt = now;
      if (slept) { this.pingedAt = 0; this.#tell('woke', {}); }
      if (!this.socket) { if (slept) { clearTimeout(this.retry); void this.#again(); } return; }
      if (this.socket.readyState !== WebSocket.OPEN) {
        if (now - this.startedAt > OPEN_WITHIN_MS) { this.socket.close(); this.#lost(); }
        return;
      }
      if (this.pingedAt && now - this.pingedAt > PONG_WITHIN_MS) { this.socket.close(); this.#lost(); return; }
      if (!this.pingedAt && (slept || now - this.heardAt > PING_EVERY_MS)) { this.pingedAt = now; this.send({ type: 'ping' }); }
    }, LOOK_EVERY_MS);
    window.addEventListener('online', () => { if (!this.socket) { clearTimeout(this.retry); void this.#again(); } });
  }

  /**
   * A session that has ended sends to the sign-in page; a network that is away is tried again. The browser may ask over
   * a connection that died in the same sleep, which answers never.
   */
  async #again() {
    const patience = new AbortController(), givenUp = setTimeout(() => patience.abort(), ANSWER_WITHIN_MS);
    try {
      const asked = { headers: { accept: 'application/json' }, signal: patience.signal };
      const answer = await fetch('/specialist', { ...asked, redirect: 'manual' });
      if (answer.status === 401 || answer.type === 'opaqueredirect') { location.reload(); return; }
    } catch { /* no network: the next attempt will say */ }
    clearTimeout(givenUp);
    this.start();
  }

  /** @param {string} type @param {any} message */
  #tell(type, message) { for (const callback of this.listeners.get(type) ?? []) callback(message); }
}
