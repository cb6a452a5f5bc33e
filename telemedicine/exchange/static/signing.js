// The specialist's signature: an Ed25519 key made in this browser, kept in IndexedDB, never exportable.

const DATABASE = 'xunzhen-signing', STORE = 'keys';

/** The browser cannot sign: no https, or no Ed25519. */
export class CannotSign extends Error {}

/** The password was not confirmed. */
export class WrongPassword extends Error {}

/**
 * The one written form of a document: keys sorted, no spaces. The twin of telemedicine/opinion.py canonical_text.
 * @param {any} value @returns {string}
 */
export function canonicalText(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonicalText(value[key])}`).join(',')}}`;
  }
  return JSON.stringify(value);
}

/**
 * Sign `text` after the account's password has been confirmed for this browser's key.
 * @param {string} account @param {string} password @param {string} text
 * @returns {Promise<{ signed_text: string, signature: string, public_key: string }>}
 * @throws {CannotSign | WrongPassword | Error}
 */
export async function sign(account, password, text) {
  const pair = await keyOf(account);
  const publicKey = base64(await crypto.subtle.exportKey('raw', pair.publicKey));
  const answer = await fetch('/specialist/key', { method: 'POST', body: new URLSearchParams({ password, public_key: publicKey }) });
  if (answer.status === 403) throw new WrongPassword();
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `HTTP ${answer.status}`);
  const signature = await crypto.subtle.sign('Ed25519', pair.privateKey, new TextEncoder().encode(text));
  return { signed_text: text, signature: base64(signature), public_key: publicKey };
}

/** @param {string} account @returns {Promise<CryptoKeyPair>} */
async function keyOf(account) {
  if (!window.crypto?.subtle || !window.indexedDB) throw new CannotSign();
  const database = await opened();
  try {
    const kept = await finished(database.transaction(STORE).objectStore(STORE).get(account));
    if (kept) return kept;
    /** @type {CryptoKeyPair} */
    let pair;
    try {
      pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']));
    } catch { throw new CannotSign(); }
    await finished(database.transaction(STORE, 'readwrite').objectStore(STORE).put(pair, account));
    return pair;
  } finally { database.close(); }
}

/** @returns {Promise<IDBDatabase>} */
function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return finished(request);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {ArrayBuffer} bytes */
const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
