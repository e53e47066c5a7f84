// What the findings come to, in words for a person. Never more than was checked.

const NO_ROOT =
  "A page that carries its own keys is no root of trust: whoever can change the page can change its keys, and this " +
  "program with them. Paste the keys that you have pinned below, and check with safeloop audit where it matters.";

const LIMITS = {
  session:
    "Other sessions, and whether a later row of this one exists, are not judged here. Not covered: the glance, what came later, turns, charts " +
    "and tables, and the time when the page was made. They are the words of whoever made the page.",
  ledger:
    "Whether the loop kept its word is not judged here. Not covered: what an audit is said to have found, figures, charts and " +
    "tables, and the time when the page was made. They are the words of whoever made the page: run safeloop audit.",
};

function verdictOf(verification) {
  const { findings, unknown, keys, page } = verification;
  const bad = new Set(findings.map((each) => each.row).filter((row) => row !== null));
  const standing = page.rows.filter((row) => !bad.has(row.index + 1)).length;
  if (findings.length > 0) return badVerdict(findings, standing, page);
  const gap = unknown.length ? ` Of ${counted(unknown.length, "row")} only the bytes are known to this page, the first is row ${unknown[0]}.` : "";
  const sentences = [
    `${subjectOf(verification)} Every signature, encoding, chain, place in the tree and the head hold, ${whoseKeys(keys)}.${gap}`,
    ...(page.scope === "session" ? [aboutFrame(verification.frameRow)] : []),
    LIMITS[page.scope],
  ];
  if (!keys.isPinnedLog) return verdict("own", "Consistent in itself, by its own keys", [...sentences, NO_ROOT], null);
  const isFrameless = page.scope === "session" && verification.frameRow === null;
  const title = `Verified under the log key that you pasted${isFrameless ? ": the rows, not the frame" : ""}`;
  return verdict("pinned", title, [...sentences, `${aboutWriters(keys)} ${aboutRevoked(keys)}`], null);
}

// What was verified, by its verified names: a page may call itself anything.
function subjectOf({ page, keys, head }) {
  const origin = escaped(keys.origin);
  if (page.scope === "ledger") return `Ledger ${origin}, ${counted(page.rows.length, "row")}: all that its head signs.`;
  return `Session ${page.session} of ledger ${origin}, ${counted(page.rows.length, "row")} of the ${head.size} that its head signs.`;
}

function whoseKeys(keys) {
  if (keys.isPinnedLog) return "the head under your key";
  return keys.isPinnedWriters ? "the rows under the writers that you pasted, the head under a log key that this page carries"
    : "under the keys that this page carries";
}

function aboutFrame(row) {
  return row === null
    ? "No signed attestation on this page names the frame: it is as whoever made the page rendered it, and nothing here vouches for it."
    : `The attestation of row ${row} names the frame that is shown; who signed it is not judged here.`;
}

function aboutWriters(keys) {
  return keys.isPinnedWriters
    ? "The writers are those that you pasted too."
    : "The writers are those that the page carries: the log key vouches that these are the rows, a pinned writers line that its owner wrote them.";
}

function aboutRevoked({ ownRevoked, pastedRevoked }) {
  const own = `${counted(ownRevoked, "revocation")} that the page carries`;
  return pastedRevoked
    ? `Counted: ${counted(pastedRevoked, "revocation")} that you pasted, and ${own}.`
    : `You pasted no revocation: counted are ${own}. If a key was revoked in your trust folder, paste its lines of revoked too.`;
}

function badVerdict(findings, standing, page) {
  const [first] = findings;
  const others = findings.length > 1 ? ` ${counted(findings.length, "finding")} in all.` : "";
  const title = first.row === null ? "Not verified" : `Not verified: row ${first.row}`;
  return verdict("bad", title, [
    `${sentence(first)}.${others}`,
    `By their own signatures and places ${standing} of ${counted(page.rows.length, "row")} stand; rely on nothing else of this page.`,
  ], first.row);
}

function verdict(state, title, sentences, row) {
  return { state, title, sentences, row };
}

function sentence(finding) {
  return finding.row === null ? `${finding.words} (${finding.rule})` : `Row ${finding.row} (${finding.rule}): ${finding.words}`;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
