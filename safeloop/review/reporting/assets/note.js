// Checkpoints: c2sp.org/tlog-checkpoint in a c2sp.org/signed-note, and the verifier keys under which they are read.

const ED25519_TYPE = 0x01;
const NAME = /^[^\s+\u0000-\u001f\ud800-\udfff]+$/;

class NoteError extends Error {}

// `name+hash+base64(type || key)`; the four bytes of the hash are computed and compared.
async function parseVerifierKey(text) {
  const [name, hash, ...rest] = text.split("+");
  const typed = fromBase64(rest.join("+"));
  if (!name || !NAME.test(name) || typed === null || typed.length !== 33 || typed[0] !== ED25519_TYPE) {
    throw new NoteError("it is no verifier key: NAME+HASH+BASE64 of an Ed25519 key");
  }
  const expected = (await sha256(joined(utf8.encode(`${name}\n`), typed))).subarray(0, 4);
  if (toHex(expected) !== hash) throw new NoteError("its hash is not that of its name and key");
  const key = await PublicKey.admit(typed.subarray(1));
  if (key === null) throw new NoteError("its key is a point of small order, or no key at all");
  return { name, key, hash: expected, text };
}

function parseCheckpoint(note) {
  const { text } = splitNote(note);
  const lines = text.split("\n");
  if (lines.length !== 4 || !lines[0]) throw new NoteError("a checkpoint has three lines: origin, size, root");
  if (!/^(0|[1-9][0-9]{0,15})$/.test(lines[1])) throw new NoteError("the checkpoint's size is no decimal number");
  const root = fromBase64(lines[2]);
  if (root === null || root.length !== 32) throw new NoteError("the checkpoint's root is not 32 bytes");
  return { origin: lines[0], size: Number(lines[1]), root };
}

// The checkpoint, if this key signed it; lines of keys that are not asked for are passed over, its own must all verify.
async function verifyCheckpoint(note, verifier) {
  const checkpoint = parseCheckpoint(note);
  if (checkpoint.origin !== verifier.name) {
    throw new NoteError(`the head is of ${checkpoint.origin}, not of ${verifier.name}`);
  }
  const { text, signatures } = splitNote(note);
  const own = signatures.filter((each) => each.name === verifier.name && sameBytes(each.bytes.subarray(0, 4), verifier.hash));
  if (own.length === 0) throw new NoteError(`no signature on the head by the key ${verifier.name}+${toHex(verifier.hash)}`);
  for (const each of own) {
    if (!(await verifier.key.verifies(each.bytes.subarray(4), utf8.encode(text)))) {
      throw new NoteError(`the head's signature does not verify under ${verifier.name}+${toHex(verifier.hash)}`);
    }
  }
  return checkpoint;
}

function splitNote(note) {
  const at = note.lastIndexOf("\n\n");
  if (at < 0 || !note.endsWith("\n") || at + 2 >= note.length) {
    throw new NoteError("the head is no signed note: text, an empty line, signature lines");
  }
  const text = note.slice(0, at + 1);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text)) throw new NoteError("a note holds no control characters");
  const signatures = note.slice(at + 2, -1).split("\n").map((line) => {
    const [dash, name, encoded, ...more] = line.split(" ");
    const bytes = dash === "—" && more.length === 0 && NAME.test(name || "") ? fromBase64(encoded || "") : null;
    if (bytes === null || bytes.length < 5) throw new NoteError("a signature line is not of the form '— name base64'");
    return { name, bytes };
  });
  return { text, signatures };
}
