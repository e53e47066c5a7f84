// The keys under which the page is verified: its own, or those that the reader pastes from a trust folder.

async function keysOf(data, pasted) {
  const own = {
    logs: await Promise.all(data.logs.map(parseVerifierKey)),
    writers: await Promise.all(data.writers.map((raw) => PublicKey.admit(fromBase64(raw)))),
  };
  const keys = {
    logs: pasted.logs.length ? pasted.logs : own.logs,
    writers: new Map(),
    revoked: [...data.revoked.map(([key, origin, size]) => ({ key, origin, size })), ...pasted.revoked],
    ownRevoked: data.revoked.length,
    pastedRevoked: pasted.revoked.length,
    origin: null,
    isPinnedLog: pasted.logs.length > 0,
    isPinnedWriters: pasted.writers.length > 0,
    whose: pasted.writers.length ? "writers that you pasted" : "writers that this page carries",
    whoseLog: pasted.logs.length ? "log keys that you pasted" : "log keys that this page carries",
  };
  for (const writer of pasted.writers.length ? pasted.writers : own.writers) {
    if (writer !== null) keys.writers.set(writer.id, writer);
  }
  return keys;
}

/* Lines of a trust folder: `log VKEY` or the VKEY alone, from `policy`; `NAME ssh-ed25519 BASE64`, from `writers`;
 * `KEY-ID ORIGIN SIZE`, from `revoked`, which come besides the page's own: such a line only takes trust away.
 * Blank lines and comments are passed over; anything else throws NoteError, since it may have been meant to restrict. */
async function readPins(text) {
  const pins = { logs: [], writers: [], revoked: [] };
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line === "" || line.startsWith("#") || line === "quorum none") continue;
    const words = line.split(/[ \t]+/);
    const at = words.indexOf("ssh-ed25519");
    if (at >= 0 && at <= 1 && words.length === at + 2) {
      const key = await readSshKey(words.slice(at).join(" "));
      if (key === null) throw new NoteError("a writers line holds no usable Ed25519 key");
      pins.writers.push(key);
    } else if (words.length === 3 && /^[0-9a-f]{64}$/.test(words[0]) && /^(0|[1-9][0-9]{0,15})$/.test(words[2])) {
      pins.revoked.push({ key: words[0], origin: words[1], size: Number(words[2]) });
    } else if (words.length === 1 || (words[0] === "log" && words.length <= 3)) {
      pins.logs.push(await parseVerifierKey(words[words.length === 1 ? 0 : 1]));
    } else {
      throw new NoteError(`not understood: ${line.slice(0, 60)}`);
    }
  }
  return pins;
}
