// The page: starts by itself, says how far it is, marks each row, and gives the verdict.

const MARKS = { good: "✓ good", bad: "✗ bad", unknown: "? bytes only", unchecked: "○ not checked" };

let page = null; // as it was read, once
let ui = null; // the places of the verdict, within its own section

// Read the page and put the one in its place that was made of what was read.
function takePage() {
  const { faults, data, rows, elements, frame, note, about, names } = new Rebuilding().run();
  const place = document.body.querySelector("#verdict");
  const part = (id) => place.querySelector(`#${id}`);
  ui = {
    place, title: part("verdict-title"), text: part("verdict-text"), progress: part("progress"),
    pins: part("pins"), complaint: part("pins-error"), button: part("verify"),
  };
  page = {
    data, rows, elements, frame, note, about, names,
    faults: [...faults],
    scope: data?.scope,
    session: data?.session,
    count: data?.count,
    leaves: data?.leaves.map((leaf) => leaf && fromBase64(leaf)),
  };
}

async function verifyPage(pasted) {
  show(verdict("running", "Checking", ["The rows are being checked in this browser."], null));
  hideMarks(true);
  const start = performance.now();
  if (page.data === null) throw new Error("the page's data is not what a report carries");
  const keys = await keysOf(page.data, pasted);
  const verification = await new Verification(page, keys).run(progress);
  markRows(page.elements, verification);
  show(verdictOf(verification));
  performance.measure("safeloop verification", { start, end: performance.now() }); // whoever measures finds it there
}

function progress(done, all) {
  const step = Math.floor((done / all) * 10);
  const text = `${step * 10} % of ${all} rows checked`;
  if (ui.progress.textContent !== text) ui.progress.textContent = text;
}

// Marks of an earlier verdict are hidden while the next one is made.
function hideMarks(isHidden) {
  document.getElementById("main").classList.toggle("checking", isHidden);
}

function mark(element, state, words) {
  element.dataset.state = state;
  element.firstElementChild.firstElementChild.textContent = MARKS[state];
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
  ui.place.dataset.state = found.state;
  ui.title.textContent = found.title;
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
  ui.text.replaceChildren(...lines);
  if (found.state !== "running") ui.progress.textContent = "";
}

async function start(text) {
  ui.button.disabled = true;
  try {
    ui.complaint.textContent = "";
    if (!(await canVerify())) {
      const words = "This browser has no WebCrypto Ed25519, or does not offer it to this page. Use a newer one, or safeloop audit.";
      show(verdict("none", "Nothing was verified", [words], null));
      return;
    }
    const pasted = await readPins(text).catch((error) => {
      ui.complaint.textContent = error.message;
      throw new Error("what you pasted cannot be used", { cause: error });
    });
    await verifyPage(pasted);
  } catch (error) {
    show(verdict("bad", "Not verified", [`Nothing was verified: ${error.message}.`], null));
    for (const each of page.elements) mark(each, "unchecked");
  } finally {
    hideMarks(false);
    ui.button.disabled = false;
  }
}

// Keys count as pasted only when a person asks: whatever the file had in the box is not there any more.
function begin() {
  try {
    takePage();
  } catch (error) {
    const words = `Nothing was verified: the page cannot be read as one that safeloop report writes (${error.message}).`;
    const place = bareVerdict();
    place.querySelector("#verdict-title").textContent = "Not verified";
    place.querySelector("#verdict-text").textContent = words;
    place.dataset.state = "bad";
    document.body.replaceChildren(place);
    return;
  }
  for (const each of ui.place.querySelectorAll("[data-needs-script]")) each.hidden = false;
  ui.button.addEventListener("click", () => start(ui.pins.value));
  addEventListener("beforeprint", () => document.querySelectorAll("details.row[data-state=bad], details.data").forEach((each) => (each.open = true)));
  start("");
}

// Not before the file is read to its end: what comes after the program is part of the page too.
addEventListener("DOMContentLoaded", begin);
