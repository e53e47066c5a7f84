// All rows of the page, in their order: each by itself, then in its session, in the tree, and under the head.

const ROWS_PER_BLOCK = 256;
const KINDS = [
  "spec", "limits", "open", "intent", "attempt", "turn", "call", "tool", "approval", "breach", "check", "close", "resume",
  "attestation", "release", "erase", "reconcile", "key",
];

const MADE = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z by safeloop [0-9A-Za-z.+!-]{1,40}$/;

class Verification {
  constructor(page, keys) {
    this.page = page; // what was read: {scope, session, count, note, leaves, rows}
    this.keys = keys;
    this.findings = []; // {row, rule, words}; row is the number that people see, or null
    this.unknown = []; // numbers of rows that could be verified as bytes only
    this.leaves = []; // of the rows as they are, by position
    this.displaced = []; // positions of rows that are not the stored leaf's
    this.links = []; // findings about the links of those: consequences, where the head signs the stored leaves
    this.faulty = new Set();
    this.next = 0;
    this.attested = []; // {row, frame} of signed attestations in rows that count
    this.frameRow = null; // of the attestation that names the frame that is shown
    this.head = null;
    this.signer = null;
    this.chains = new Chains();
    this.keyring = new Keyring(keys);
  }

  async run(progress) {
    await this.readHead();
    const { rows } = this.page;
    let ahead = this.judge(0);
    for (let first = 0; first < rows.length; first += ROWS_PER_BLOCK) {
      const judged = await ahead;
      ahead = this.judge(first + ROWS_PER_BLOCK); // the browser's threads check the next ones meanwhile
      for (let at = 0; at < judged.length; at++) await this.take(rows[first + at], judged[at]);
      progress(Math.min(first + ROWS_PER_BLOCK, rows.length), rows.length);
    }
    await this.finish();
    return this;
  }

  judge(first) {
    return Promise.all(this.page.rows.slice(first, first + ROWS_PER_BLOCK).map((row) => judgeRow(row, this.keys)));
  }

  async readHead() {
    try {
      this.note = readNote(this.page.note);
      const { origin } = parseCheckpoint(this.note);
      const logs = this.keys.logs.filter((log) => log.name === origin);
      if (logs.length === 0) throw new NoteError(`none of the ${this.keys.whoseLog} is one of ${origin}`);
      this.head = await this.signedBy(logs);
      this.keys.origin = origin;
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      this.find(null, "head", error.message);
    }
  }

  // An origin may have several keys, since logs change theirs: one that counts suffices.
  async signedBy(logs) {
    let refused = new NoteError("the head is not signed");
    for (const log of logs) {
      try {
        const checkpoint = await verifyCheckpoint(this.note, log);
        const revoked = revocationOfHead(log, checkpoint.size, this.keys.revoked);
        if (revoked) throw new NoteError(revoked);
        this.signer = log.key.id;
        return checkpoint;
      } catch (error) {
        if (!(error instanceof NoteError)) throw error;
        refused = error;
      }
    }
    throw refused;
  }

  async take(stored, judged) {
    const { index, body } = judged;
    const leaf = toHex(judged.leaf);
    const isOwn = await this.place(stored, judged);
    if (isOwn === null) return;
    const wrong = judged.fault || this.foreign(body) || misshown(stored, body);
    if (wrong) {
      this.find(index + 1, wrong.rule, wrong.words);
      this.faulty.add(index);
      this.chains.lose(leaf);
      if (body !== null && judged.fault) this.chains.damage(body);
      return;
    }
    if (body === null) {
      this.unknown.push(index + 1);
      this.chains.lose(leaf);
      return;
    }
    if (!KINDS.includes(body.kind)) this.unknown.push(index + 1);
    if (body.kind === "attestation" && body.data.signature !== null) this.attested.push({ row: index + 1, frame: body.data.frame });
    const link = this.foreignSession(body) || this.chains.follow(body, leaf, isOwn);
    if (link) (isOwn ? this.findings : this.links).push({ row: index + 1, rule: "chain", words: link });
    const said = await this.keyring.follow(index, body);
    if (said) this.find(index + 1, said.rule, said.words);
  }

  foreign(body) {
    const { origin } = this.keys;
    if (body === null || !origin || body.ledger === origin) return null;
    return fault("ledger", `is of ledger ${body.ledger}, not of ${origin}`);
  }

  foreignSession(body) {
    const { session } = this.page;
    return session !== null && body.session !== session ? `is of session ${body.session}, not of the page's` : "";
  }

  // Take in where a row stands; say whether it is the row that belongs there, as far as that is known: null is nowhere.
  async place(stored, judged) {
    const { index } = judged;
    if (!Number.isSafeInteger(index) || index < this.next) {
      this.find(Number.isInteger(index) ? index + 1 : null, "tree", "a row stands after a later one, or twice, or where no row can be");
      return null;
    }
    if (this.page.scope === "session") {
      this.next = index + 1;
      return this.placeByProof(stored, judged);
    }
    if (index > this.next) this.lack(this.next, index);
    this.next = index + 1;
    this.leaves[index] = judged.leaf;
    const expected = this.page.leaves[index] || null;
    if (expected === null || sameBytes(expected, judged.leaf)) return true;
    this.chains.lose(toHex(expected));
    this.displaced.push(index);
    return false;
  }

  async placeByProof(stored, judged) {
    if (this.head === null) return true;
    const { size, root } = this.head;
    if (stored.proof !== null && (await isIncluded(judged.leaf, judged.index, size, stored.proof, root))) return true;
    // A row that is false by itself is no leaf of the tree either: that is one finding, and not two.
    if (judged.fault === null) this.find(judged.index + 1, "tree", "is not in the tree that the head signs, by its proof");
    return false;
  }

  lack(first, end) {
    this.find(first + 1, "missing", end - first === 1 ? "is missing" : `and all up to row ${end} are missing`);
    for (let at = first; at < Math.min(end, this.page.leaves.length); at++) {
      if (this.page.leaves[at]) this.chains.lose(toHex(this.page.leaves[at]));
    }
  }

  async finish() {
    const { scope, rows, count, faults } = this.page;
    for (const what of faults) {
      this.find(null, "page", `${what} is not as safeloop report writes it: something was hidden, added, left out or altered`);
    }
    if (rows.length === 0) this.find(null, "empty", "there is no row on this page");
    if (scope === "ledger") await this.closeTree();
    if (rows.length !== count) {
      this.find(null, "missing", `the page was made of ${count} rows, and ${rows.length} are here`);
    }
    const late = this.head && this.keyring.judgeHead(this.signer, this.head.size);
    if (late) this.find(null, late.rule, late.words);
    this.compareScope();
    this.compareNames();
    if (scope === "session") await this.compareFrame();
    this.findings.sort((one, other) => (one.row || Infinity) - (other.row || Infinity) || 0);
  }

  // The tree that the head signs is that of the rows; or that of the leaves stored beside them, and then a row that
  // differs from its leaf is the one that was changed; or neither.
  async closeTree() {
    if (this.head === null) {
      this.findings.push(...this.links);
      return;
    }
    const { size, root } = this.head;
    const stored = Array.from({ length: size }, (_, at) => this.page.leaves[at] || null);
    const isSigned = async (leaves) =>
      leaves.length === size && leaves.every((leaf) => leaf) && sameBytes(await treeRoot(leaves), root);
    const isOfRows = await isSigned(Array.from({ length: Math.min(size, this.leaves.length) }, (_, at) => this.leaves[at]));
    const isOfStored = !isOfRows && (await isSigned(stored));
    if (!isOfRows && !isOfStored) {
      this.findings.push(...this.links);
      const words = this.leaves.length === size ? `the ${size} rows have another root than the head signs`
        : `the head signs ${size} rows, and the last here is row ${this.leaves.length}`;
      this.find(null, "tree", words);
      return;
    }
    if (isOfStored) {
      for (const at of this.displaced) {
        if (!this.faulty.has(at)) this.find(at + 1, "tree", "is not the one that the head signs at this place");
      }
      if (this.next < size) this.lack(this.next, size);
    } else {
      this.findings.push(...this.links);
    }
    if (this.next > size) this.find(size + 1, "tree", `and what follows is not in the tree of ${size} rows that the head signs`);
  }

  compareScope() {
    const { scope, session, leaves } = this.page;
    const isWhole = scope === "session" ? typeof session === "string" && FORMS.session.test(session) && leaves.length === 0 : session === null;
    if (!isWhole) this.find(null, "scope", `the page's data is not that of a ${scope}`);
  }

  // What the page calls itself, in its title, its heading and its first part, against what was verified.
  compareNames() {
    if (this.head === null) return;
    const { scope, session, names, about, rows } = this.page;
    const origin = escaped(this.keys.origin);
    const name = scope === "session" ? escaped(String(session)) : origin;
    if (names.some((each) => each !== `safeloop report of ${scope} ${name}`)) {
      this.find(null, "name", `the page calls itself another than ${scope} ${name}`);
    }
    const first = scope === "session" ? `Session${name}` : "";
    const stated = `${first}Ledger${origin}Rows${rows.length.toLocaleString("en-US")}Made`;
    if (!about.startsWith(stated) || !MADE.test(about.slice(stated.length))) {
      this.find(null, "name", "what the page states about itself is not what was verified");
    }
  }

  // The text against the digest beside it, and against what the attestations among the rows are about.
  async compareFrame() {
    if (this.page.frame === null) {
      this.find(null, "frame", "the page has no frame that can be read");
      return;
    }
    const digest = toHex(await sha256(utf8.encode(this.page.frame.text)));
    const attested = this.attested.find((each) => each.frame === digest);
    this.frameRow = attested ? attested.row : null;
    if (digest !== this.page.frame.stated) {
      this.find(null, "frame", `the frame's SHA-256 is ${digest}, and the page states another`);
    }
  }

  find(row, rule, words) {
    this.findings.push({ row, rule, words });
  }
}

function revocationOfHead(log, size, revoked) {
  const own = revoked.filter((line) => line.key === log.key.id && line.origin === log.name).map((line) => line.size);
  const bound = Math.min(...own);
  return size > bound ? `the head of ${size} rows is signed by a log key that was revoked for more than ${bound}` : "";
}

function readNote(bytes) {
  if (bytes === null) throw new NoteError("the page has no head that can be read");
  try {
    return strictUtf8.decode(bytes);
  } catch {
    throw new NoteError("the head is not UTF-8");
  }
}

function misshown(stored, body) {
  if (!stored.isWhole) return fault("shown", "is not as safeloop report writes it: something was hidden, added, left out or altered");
  const cells = cellsOf(stored.index, body);
  const at = cells.findIndex((cell, place) => stored.cells[place] !== escaped(cell));
  return at < 0 ? null : fault("shown", `the page shows “${stored.cells[at] || ""}” where the row's bytes say “${cells[at]}”`);
}
