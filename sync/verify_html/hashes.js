// SHA-256 and SHA-512 (FIPS 180-4), written out: a page opened as a file or over plain HTTP may have no crypto.subtle,
// and hashing a tree step by step is simpler where nothing has to be awaited. Pure.

/** The first bits of the fractional parts of roots of the first primes (FIPS 180-4 section 4.2).
 * @param {number} count @param {bigint} bits @param {2n | 3n} root
 */
function primeRoots(count, bits, root) {
  const found = [];
  for (let candidate = 2n; found.length < count; candidate += 1n) {
    let prime = true;
    for (let divisor = 2n; divisor * divisor <= candidate; divisor += 1n) if (candidate % divisor === 0n) prime = false;
    if (prime) found.push(BigInt.asUintN(Number(bits), integerRoot(candidate << (bits * root), root)));
  }
  return found;
}

/** The largest integer whose power is not above `of`.
 * @param {bigint} of @param {2n | 3n} power
 */
function integerRoot(of, power) {
  let [low, high] = [0n, 1n << 90n];
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (middle ** power <= of) low = middle; else high = middle - 1n;
  }
  return low;
}

const K256 = Uint32Array.from(primeRoots(64, 32n, 3n), Number);
const START_256 = Uint32Array.from(primeRoots(8, 32n, 2n), Number);
const K512 = primeRoots(80, 64n, 3n);
const START_512 = primeRoots(8, 64n, 2n);

/** The message with its 1 bit, zeros and length: whole blocks.
 * @param {Uint8Array} message @param {number} block
 */
function padded(message, block) {
  const length = Math.ceil((message.length + 1 + block / 8) / block) * block;
  const whole = new Uint8Array(length);
  whole.set(message);
  whole[message.length] = 0x80;
  new DataView(whole.buffer).setBigUint64(length - 8, BigInt(message.length) * 8n);
  return new DataView(whole.buffer);
}

/** @param {number} word @param {number} bits */
const turned = (word, bits) => (word >>> bits) | (word << (32 - bits));

/** @param {Uint8Array} message @returns {Uint8Array} 32 bytes */
export function sha256(message) {
  const blocks = padded(message, 64);
  const state = Uint32Array.from(START_256);
  const words = new Uint32Array(64);
  for (let at = 0; at < blocks.byteLength; at += 64) {
    for (let t = 0; t < 16; t += 1) words[t] = blocks.getUint32(at + 4 * t);
    for (let t = 16; t < 64; t += 1) {
      const [early, late] = [words[t - 15], words[t - 2]];
      const s0 = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3);
      const s1 = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
      words[t] = words[t - 16] + s0 + words[t - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 64; t += 1) {
      const first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + K256[t] + words[t];
      const second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, place) => { state[place] += word; });
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, place) => digest.setUint32(4 * place, word));
  return new Uint8Array(digest.buffer);
}

/** @param {bigint} word @param {bigint} bits */
const turned64 = (word, bits) => BigInt.asUintN(64, (word >> bits) | (word << (64n - bits)));

/** @param {bigint} word */
const cut = (word) => BigInt.asUintN(64, word);

/** For Ed25519 only: short messages.
 * @param {Uint8Array} message @returns {Uint8Array} 64 bytes
 */
export function sha512(message) {
  const blocks = padded(message, 128);
  const state = [...START_512];
  for (let at = 0; at < blocks.byteLength; at += 128) {
    const words = Array.from({ length: 16 }, (_, t) => blocks.getBigUint64(at + 8 * t));
    for (let t = 16; t < 80; t += 1) {
      const [early, late] = [words[t - 15], words[t - 2]];
      const s0 = turned64(early, 1n) ^ turned64(early, 8n) ^ (early >> 7n);
      const s1 = turned64(late, 19n) ^ turned64(late, 61n) ^ (late >> 6n);
      words.push(cut(words[t - 16] + s0 + words[t - 7] + s1));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 80; t += 1) {
      const mixed = turned64(e, 14n) ^ turned64(e, 18n) ^ turned64(e, 41n);
      const first = h + mixed + ((e & f) ^ (cut(~e) & g)) + K512[t] + words[t];
      const second = (turned64(a, 28n) ^ turned64(a, 34n) ^ turned64(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, cut(d + first), c, b, a, cut(first + second)];
    }
    [a, b, c, d, e, f, g, h].forEach((word, place) => { state[place] = cut(state[place] + word); });
  }
  const digest = new DataView(new ArrayBuffer(64));
  state.forEach((word, place) => digest.setBigUint64(8 * place, word));
  return new Uint8Array(digest.buffer);
}
