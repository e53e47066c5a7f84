// What one row proves by itself: its form, and its signature under the writer that it names.

// leaf = SHA-256(0x00 || sig || PAE), and PAE is what the signature covers: one buffer serves both.
function sealed(body, signature) {
  const prefix = utf8.encode(`DSSEv1 36 application/vnd.safeloop.row.v1+json ${body.length} `);
  const whole = new Uint8Array(1 + signature.length + prefix.length + body.length);
  whole.set(signature, 1);
  whole.set(prefix, 1 + signature.length);
  whole.set(body, 1 + signature.length + prefix.length);
  return { whole, message: whole.subarray(1 + signature.length) };
}

/* Judge a stored row under these keys. The answer has the leaf; the parsed body, or null; a fault as {rule, words}, or
 * null; and why a row of a version of the future could not be read, or "". */
async function judgeRow(stored, keys) {
  const signature = stored.signature || new Uint8Array();
  const { whole, message } = sealed(stored.body, signature);
  const leaf = sha256(whole);
  const judged = { index: stored.index, leaf: null, body: null, fault: null, unknown: "" };
  try {
    if (signature.length !== 64) throw new EncodingError(`the signature has ${signature.length} bytes, not 64`);
    judged.body = parseBody(stored.body);
    judged.fault = await faultOf(stored.index, judged.body, signature, message, keys);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    await judgeUnread(judged, error, signature, message, keys);
  }
  judged.leaf = await leaf;
  return judged;
}

async function faultOf(index, body, signature, message, keys) {
  const writer = keys.writers.get(body.writer);
  if (writer === undefined) return fault("writer", `writer ${body.writer.slice(0, 8)} is none of the ${keys.whose}`);
  if (!(await writer.verifies(signature, message))) {
    return fault("signature", `signature does not verify under writer ${body.writer.slice(0, 8)}`);
  }
  return revocation(index, writer.id, body.ledger, keys);
}

// A row of an unknown version is verified as bytes: what its keys mean is not known, only who signed it.
async function judgeUnread(judged, error, signature, message, keys) {
  if (!(error instanceof UnknownVersion)) {
    judged.fault = fault("encoding", error.message);
    return;
  }
  for (const writer of keys.writers.values()) {
    if (await writer.verifies(signature, message)) {
      judged.fault = revocation(judged.index, writer.id, keys.origin, keys);
      judged.unknown = error.message;
      return;
    }
  }
  judged.fault = fault("signature", `${error.message}, and no writer signed these bytes`);
}

function revocation(index, writer, origin, keys) {
  const bounds = keys.revoked.filter((line) => line.key === writer && line.origin === origin).map((line) => line.size);
  const bound = Math.min(...bounds);
  return index < bound ? null : fault("revoked", `writer ${writer.slice(0, 8)} was revoked from row ${bound + 1} on`);
}

function fault(rule, words) {
  return { rule, words };
}
