// Keys as the ledger's own rows tell of them. Such rows take trust away and never give any: a key that only a rotation
// names is not trusted, and the one that it replaced signs no more.

class Keyring {
  constructor(keys) {
    this.keys = keys;
    this.known = new Map(); // of writers, by id: the last row that each signed, and what ended it
    this.logs = new Map(keys.logs.map((log) => [log.key.id, null])); // by id: {size, words} once it signs no more
  }

  // Take in the next row, one that a writer signed; say what is wrong with who signed it, or with what it says of keys.
  async follow(index, body) {
    const signer = this.of(body.writer);
    signer.last = index;
    if (signer.bound !== null && index >= signer.bound) {
      return fault("revoked", `writer ${body.writer.slice(0, 8)} was revoked from row ${signer.bound + 1} on by row ${signer.revoked + 1}`);
    }
    if (signer.replaced !== null) {
      return fault("key", `is signed by writer ${body.writer.slice(0, 8)}, which row ${signer.replaced + 1} replaced`);
    }
    return body.kind === "key" ? this.tell(index, body) : null;
  }

  // Why the log key that signed the head may not have signed one of so many rows, or null; asked after the last row.
  judgeHead(id, size) {
    const former = this.logs.get(id);
    if (!former || size <= former.size) return null;
    return fault("head", `the head of ${size} rows is signed by a log key whose last head was of ${former.size}: ${former.words}`);
  }

  of(id) {
    if (!this.known.has(id)) this.known.set(id, { last: -1, replaced: null, bound: null, revoked: null });
    return this.known.get(id);
  }

  async tell(index, body) {
    const { data } = body;
    if (!hasKeyForm(data)) return fault("kind", "its data has not the form of a key row");
    if (body.session !== "ledger") return fault("key", "speaks of keys, which only the session ledger does");
    const named = await readKey(data.key, body.ledger);
    if (named === null) return fault("key", "names a key that cannot be used");
    const given = ["proof", "not_after_size", "checkpoint"].filter((name) => data[name] !== null).join();
    if (given !== { rotate: "proof", revoke: "not_after_size", adopt: "checkpoint" }[data.event]) {
      return fault("key", `is a row of ${data.event} with other fields than its own`);
    }
    if (data.event === "rotate") return this.rotate(index, body, named);
    return data.event === "revoke" ? this.revoke(index, body, named) : adopt(index, body, named);
  }

  async rotate(index, body, named) {
    if (named.role === "log") return this.rotateLog(index, body, named);
    if (named.key.id === body.writer) return fault("key", "names the key that signed it as its successor");
    const known = this.of(named.key.id);
    if (known.replaced !== null || known.bound !== null) {
      return fault("key", `names writer ${named.key.id.slice(0, 8)} again, which was replaced or revoked before`);
    }
    if (!(await hasPossession(body, named, body.writer))) return fault("key", "has no proof that the new writer took part");
    this.of(body.writer).replaced = index;
    return null;
  }

  async rotateLog(index, body, named) {
    for (const id of [...this.logs.keys()].sort()) {
      if (id === named.key.id || !(await hasPossession(body, named, id))) continue;
      if (this.logs.get(named.key.id)) return fault("key", "names a log key again, which was replaced or revoked before");
      this.logs.set(id, { size: index + 1, words: `row ${index + 1} replaced it` });
      if (!this.logs.has(named.key.id)) this.logs.set(named.key.id, null);
      return null;
    }
    return fault("key", "has no proof that the new log key took part in place of a known one");
  }

  revoke(index, body, named) {
    const bound = body.data.not_after_size;
    if (bound > index) return fault("key", `revokes a key from row ${bound + 1} on, which is after itself`);
    if (named.role === "log") {
      const former = this.logs.get(named.key.id);
      if (!former || bound < former.size) this.logs.set(named.key.id, { size: bound, words: `row ${index + 1} revoked it` });
      return null;
    }
    if (named.key.id === body.writer) return fault("key", "revokes the key that signed it");
    const known = this.of(named.key.id);
    if (known.bound === null || bound < known.bound) Object.assign(known, { bound, revoked: index });
    if (known.last < bound) return null;
    return fault("revoked", `revokes writer ${named.key.id.slice(0, 8)} from row ${bound + 1} on, and rows by it stand there`);
  }
}

function adopt(index, body, named) {
  try {
    const kept = parseCheckpoint(body.data.checkpoint);
    if (named.role === "log" && kept.origin === body.ledger && kept.size <= index) return null;
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
  }
  return fault("key", "adopts the ledger by what is no earlier checkpoint of it");
}

function hasKeyForm(data) {
  const isText = (value) => typeof value === "string";
  return (
    Object.keys(data).sort().join() === "checkpoint,event,key,not_after_size,proof" &&
    ["rotate", "revoke", "adopt"].includes(data.event) && isText(data.key) &&
    (data.proof === null || isText(data.proof)) && (data.checkpoint === null || isText(data.checkpoint)) &&
    (data.not_after_size === null || (Number.isInteger(data.not_after_size) && data.not_after_size >= 0))
  );
}

// A writer's key is `ssh-ed25519 BASE64` without a comment, a log's the verifier key of this origin.
async function readKey(text, origin) {
  if (text.startsWith("ssh-")) {
    const key = await readSshKey(text);
    return key === null ? null : { role: "writer", key, text };
  }
  try {
    const verifier = await parseVerifierKey(text);
    return verifier.name === origin ? { role: "log", key: verifier.key, text } : null;
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
    return null;
  }
}

// RFC 4253, section 6.6: the type and the key, each behind its length.
async function readSshKey(text) {
  const match = /^ssh-ed25519 ([A-Za-z0-9+/=]+)$/.exec(text);
  const blob = match ? fromBase64(match[1]) : null;
  const header = joined(new Uint8Array([0, 0, 0, 11]), utf8.encode("ssh-ed25519"), new Uint8Array([0, 0, 0, 32]));
  if (blob === null || blob.length !== header.length + 32 || !sameBytes(blob.subarray(0, header.length), header)) return null;
  return PublicKey.admit(blob.subarray(header.length));
}

// proof = Ed25519(new key, PAE of the claim that it follows the old one in this ledger)
async function hasPossession(body, named, replaces) {
  const signature = fromBase64(body.data.proof);
  const claim = { key: named.text, ledger: body.ledger, replaces, role: named.role };
  const bytes = utf8.encode(encodeCanonical(claim, 1));
  const head = utf8.encode(`DSSEv1 45 application/vnd.safeloop.key-rotation.v1+json ${bytes.length} `);
  return signature !== null && named.key.verifies(signature, joined(head, bytes));
}
