// What the findings come to, in words for a person. Never more than was checked.

const NO_ROOT =
  "A page that carries its own keys is no root of trust: whoever can change the page can change its keys, and this " +
  "program with them. Paste the keys that you have pinned below, and check with safeloop audit where it matters.";

function verdictOf(verification) {
  const { findings, unknown, keys, page } = verification;
  const bad = new Set(findings.map((each) => each.row).filter((row) => row !== null));
  const standing = page.rows.filter((row) => !bad.has(row.index + 1)).length;
  if (findings.length > 0) return badVerdict(findings, standing, page);
  const whose = `${counted(page.rows.length, "row")}: every signature, encoding, chain, place in the tree and the head hold`;
  const gap = unknown.length ? ` Of ${counted(unknown.length, "row")} only the bytes are known to this page, the first is row ${unknown[0]}.` : "";
  const limit = page.scope === "session"
    ? ` ${verification.aboutFrame} Other sessions, and whether a later row of this one exists, are not judged here.`
    : " Whether the loop kept its word is not judged here: what safeloop audit said of it stands below.";
  if (!keys.isPinnedLog) {
    return verdict("own", "Consistent in itself, by its own keys", [`${whose}, under the keys that this page carries.${gap}${limit}`, NO_ROOT], null);
  }
  const writers = keys.isPinnedWriters
    ? "The writers are those that you pasted too."
    : "The writers are those that the page carries: the log key vouches that these are the rows, a pinned writers line that its owner wrote them.";
  return verdict(
    "pinned",
    "Verified under the log key that you pasted",
    [`${whose}, the head under your key.${gap}${limit}`, writers],
    null,
  );
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
