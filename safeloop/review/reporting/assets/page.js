// The page: reads what it shows, starts by itself, says how far it is, marks each row, and gives the verdict.

const MARKS = { good: "✓ good", bad: "✗ bad", unknown: "? bytes only", unchecked: "○ not checked" };

function readPage() {
  const data = JSON.parse(document.getElementById("safeloop-data").textContent);
  const stored = new Map(data.rows.map(([index, signature, proof]) => [index, { signature, proof }]));
  const elements = [...document.querySelectorAll("details.row")];
  const rows = elements.map((element) => readRow(element, stored));
  const frame = document.getElementById("frame");
  const stated = document.getElementById("frame-sha256");
  return {
    data,
    elements,
    scope: data.scope,
    session: data.session,
    count: data.count,
    note: document.getElementById("head-note").textContent,
    leaves: data.leaves.map((leaf) => leaf && fromBase64(leaf)),
    rows,
    frame: frame && stated ? { text: frame.textContent, stated: stated.textContent } : null,
  };
}

function readRow(element, stored) {
  const index = Number(element.dataset.index);
  const summary = element.firstElementChild;
  const body = element.querySelector("pre");
  const { signature, proof } = stored.get(index) || { signature: null, proof: null };
  return {
    index,
    body: body ? bodyOf(body.textContent, body.dataset.form) : new Uint8Array(),
    signature: signature === null ? null : fromBase64(signature),
    proof: proof ? proof.map(fromBase64) : null,
    cells: [...summary.children].slice(1).map((cell) => cell.textContent),
  };
}

async function verifyPage(pasted) {
  show(verdict("running", "Checking", ["The rows are being checked in this browser."], null));
  hideMarks(true);
  const start = performance.now();
  const page = readPage();
  if (!["session", "ledger"].includes(page.scope)) throw new Error("the page's data is not what a report carries");
  const keys = await keysOf(page.data, pasted);
  const verification = await new Verification(page, keys).run(progress);
  markRows(page.elements, verification);
  show(verdictOf(verification));
  performance.measure("safeloop verification", { start, end: performance.now() }); // whoever measures finds it there
}

function progress(done, all) {
  const step = Math.floor((done / all) * 10);
  const text = `${step * 10} % of ${all} rows checked`;
  const line = document.getElementById("progress");
  if (line.textContent !== text) line.textContent = text;
}

// Marks of an earlier verdict are hidden while the next one is made.
function hideMarks(isHidden) {
  document.getElementById("main").classList.toggle("checking", isHidden);
}

function mark(element, state, words) {
  if (element.dataset.state === state && !words) return;
  element.dataset.state = state;
  const label = element.firstElementChild?.firstElementChild;
  if (label) label.textContent = MARKS[state];
  element.querySelector(".fault")?.remove();
  if (words) {
    const line = document.createElement("p");
    line.className = "fault";
    line.textContent = words;
    element.firstElementChild.after(line);
  }
}

function markRows(elements, verification) {
  const words = new Map();
  for (const finding of verification.findings) {
    if (finding.row !== null && !words.has(finding.row)) words.set(finding.row, sentence(finding));
  }
  const unknown = new Set(verification.unknown);
  const first = verification.findings.length ? verification.findings[0].row : null;
  verification.page.rows.forEach((row, at) => {
    const number = row.index + 1;
    if (number === first) elements[at].open = true;
    if (words.has(number) || !Number.isSafeInteger(row.index)) mark(elements[at], "bad", words.get(number));
    else mark(elements[at], unknown.has(number) ? "unknown" : "good");
  });
}

function show(found) {
  const place = document.getElementById("verdict");
  place.dataset.state = found.state;
  document.getElementById("verdict-title").textContent = found.title;
  const lines = found.sentences.map((text) => {
    const line = document.createElement("p");
    line.textContent = text;
    return line;
  });
  if (found.row !== null && document.getElementById(`row-${found.row}`)) {
    const link = document.createElement("a");
    link.href = `#row-${found.row}`;
    link.textContent = `Go to row ${found.row}`;
    lines.push(link);
  }
  document.getElementById("verdict-text").replaceChildren(...lines);
  if (found.state !== "running") document.getElementById("progress").textContent = "";
}

async function start() {
  const place = document.getElementById("pins");
  const complaint = document.getElementById("pins-error");
  const button = document.getElementById("verify");
  button.disabled = true;
  try {
    complaint.textContent = "";
    if (!(await canVerify())) {
      const words = "This browser has no WebCrypto Ed25519, or does not offer it to this page. Use a newer one, or safeloop audit.";
      show(verdict("none", "Nothing was verified", [words], null));
      return;
    }
    const pasted = await readPins(place.value).catch((error) => {
      complaint.textContent = error.message;
      throw new Error("what you pasted cannot be used", { cause: error });
    });
    await verifyPage(pasted);
  } catch (error) {
    show(verdict("bad", "Not verified", [`Nothing was verified: ${error.message}.`], null));
    for (const each of document.querySelectorAll("details.row")) mark(each, "unchecked");
  } finally {
    hideMarks(false);
    button.disabled = false;
  }
}

for (const each of document.querySelectorAll("[data-needs-script]")) each.hidden = false;
document.getElementById("verify").addEventListener("click", start);
addEventListener("beforeprint", () => document.querySelectorAll("details.row[data-state=bad], details.data").forEach((each) => (each.open = true)));
start();
