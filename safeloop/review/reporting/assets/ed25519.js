// Ed25519 by the browser's own WebCrypto. Points of small order are refused before: under some of them one signature
// verifies for any message, in every common library. x plays no part in the rule, so the sign bit is ignored.

const P = 2n ** 255n - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

class PublicKey {
  constructor(raw, id, key) {
    this.raw = raw;
    this.id = id;
    this.key = key;
  }

  // The admitted key of 32 raw bytes, or null. Its id is the SHA-256 of those bytes, as a row's `writer` is.
  static async admit(raw) {
    if (raw === null || raw.length !== 32 || !isAdmitted(raw)) return null;
    try {
      const key = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
      return new PublicKey(raw, toHex(await sha256(raw)), key);
    } catch {
      return null;
    }
  }

  async verifies(signature, message) {
    return signature.length === 64 && crypto.subtle.verify("Ed25519", this.key, signature, message);
  }
}

function isAdmitted(raw) {
  let y = 0n;
  for (let at = 31; at >= 0; at--) y = (y << 8n) | BigInt(at === 31 ? raw[at] & 0x7f : raw[at]);
  if (y >= P) return false;
  const square = (y * y) % P;
  return (y * (square - 1n) * (D * square * square + 2n * square - 1n)) % P !== 0n;
}

// Whether this browser can check anything: RFC 8032, section 7.1, TEST 1, which must verify, and one bit beside it not.
async function canVerify() {
  if (!globalThis.crypto || !crypto.subtle) return false;
  const raw = fromBase64("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
  const good = fromBase64(
    "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==",
  );
  try {
    const key = await PublicKey.admit(raw);
    if (key === null || good === null) return false;
    return (await key.verifies(good, new Uint8Array())) && !(await key.verifies(good, new Uint8Array(1)));
  } catch {
    return false;
  }
}
