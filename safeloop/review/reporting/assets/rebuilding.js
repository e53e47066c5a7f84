/* The page is read once, when it is whole, and then made anew of what was read: what a reader sees afterwards is of this
 * program's own making, so that nothing is shown that was not read. Every part that is the same in all pages is compared
 * with SHELL, and whatever else the file had, or had not, is a fault of the page. */

const TITLES = {
  about: "This page", later: "What came later", turns: "Turns", audit: "The audit", glance: "At a glance", sessions: "Sessions",
};
const PARTS = {
  session: ["about", "glance", "frame-heading", "later", "turns", "rows", "head"],
  ledger: ["about", "audit", "glance", "sessions", "rows", "head"],
};
const OUTLINE = "a,header,main,script,footer,script";

class Rebuilding {
  constructor() {
    this.faults = new Set(); // names of parts that are not as `report` writes them
    this.data = null;
    this.rows = [];
    this.elements = [];
    this.frame = null;
    this.note = null;
    this.about = "";
    this.names = this.readHead();
  }

  // Replace the body; the verdict's own section comes first in it, whatever the file had.
  run() {
    const old = document.body;
    const [skip, header, main, carried, foot, program] = this.outline(old);
    const body = document.createElement("body");
    this.data = readData(carried);
    const heading = this.take(header, SHELL.header, ["h1"], "the page's heading");
    this.names.push(heading ? heading.texts[0] : null);
    const made = document.createElement("main");
    made.id = "main";
    made.append(...this.sections(main));
    const skipping = this.take(skip, SHELL.skip, [], "the first link");
    const last = this.take(foot, SHELL.foot, [], "the page's foot");
    const parts = [skipping?.copy, heading?.copy, made, carried, last?.copy, program];
    body.append(...parts.filter((part) => part));
    old.replaceWith(body);
    return this;
  }

  readHead() {
    const root = document.documentElement;
    const head = document.head.cloneNode(true);
    const title = head.querySelector("title");
    const policy = head.querySelector("meta[http-equiv]");
    const names = [title ? title.textContent : null];
    if (title) title.textContent = "";
    const allowed = policy?.getAttribute("content").replace(/script-src 'sha256-[A-Za-z0-9+/]{43}='/, "script-src ''");
    policy?.setAttribute("content", "");
    const isAlone = root.children.length === 2 && tagOf(root) === '<html lang="en"></html>';
    if (allowed !== SHELL.policy || head.outerHTML !== SHELL.head || !isAlone || document.compatMode !== "CSS1Compat") {
      this.faults.add("the page's head");
    }
    return names;
  }

  outline(old) {
    const found = [...old.children];
    const isWhole = found.map((each) => each.localName).join() === OUTLINE;
    if (!isWhole || !isTidy(old) || tagOf(old) !== "<body></body>") this.faults.add("the page's outline");
    const first = (name) => found.find((each) => each.localName === name);
    const scripts = found.filter((each) => each.localName === "script");
    return [first("a"), first("header"), first("main"), scripts[0], first("footer"), scripts[1]];
  }

  // The part made anew, and the texts of the places where pages differ; null where it is not as it must be.
  take(element, expected, places, what) {
    const blank = element?.cloneNode(true);
    const spots = places.map((place) => blank?.querySelector(place)).filter((spot) => spot && spot.childElementCount === 0);
    const texts = spots.map((spot) => spot.textContent);
    const forms = spots.map((spot) => spot.getAttribute("data-form"));
    for (const spot of spots) {
      spot.textContent = "";
      if (spot.hasAttribute("data-form")) spot.setAttribute("data-form", "exact");
    }
    if (!blank || spots.length !== places.length || blank.outerHTML !== expected) {
      this.faults.add(what);
      return null;
    }
    const copy = copyOf(blank);
    places.forEach((place, at) => {
      const spot = copy.querySelector(place);
      spot.textContent = texts[at];
      if (forms[at] !== null) spot.setAttribute("data-form", forms[at]);
    });
    return { copy, texts, form: forms[0] };
  }

  sections(main) {
    const found = main ? [...main.children] : [];
    const byKey = new Map(found.map((each) => [each.getAttribute("aria-labelledby"), each]).reverse());
    const keys = this.data ? PARTS[this.data.scope] : [];
    const isWhole = found.map((each) => each.getAttribute("aria-labelledby")).join() === ["verdict-heading", ...keys].join();
    if (!main || !isWhole || !isTidy(main) || tagOf(main) !== '<main id="main"></main>') this.faults.add("the list of its parts");
    const verdict = this.take(byKey.get("verdict-heading"), SHELL.verdict, [], "the verdict's own part");
    const others = keys.map((key) => (byKey.has(key) ? this.section(key, byKey.get(key)) : null));
    return [verdict ? verdict.copy : bareVerdict(), ...others.filter((each) => each)];
  }

  section(key, element) {
    if (key === "rows") return this.takeRows(element);
    if (key === "frame-heading") {
      const taken = this.take(element, SHELL.frame, ["#frame", "#frame-sha256"], "the frame");
      this.frame = taken && { text: taken.texts[0], stated: taken.texts[1] };
      return taken?.copy;
    }
    if (key === "head") {
      const taken = this.take(element, SHELL.note, ["#head-note"], "the part with the ledger's head");
      const bytes = taken && bodyOf(taken.texts[0], taken.form);
      if (taken && !isSpelled(bytes, taken.form, taken.texts[0])) this.faults.add("the part with the ledger's head");
      this.note = bytes;
      return taken?.copy;
    }
    return this.words(key, element);
  }

  // A part of words, tables and drawings: not covered by the verdict, as it must say itself.
  words(key, element) {
    const what = `the part “${TITLES[key]}”`;
    const refuse = () => this.faults.add(what);
    const made = document.createElement("section");
    made.setAttribute("aria-labelledby", key);
    const [heading, remark] = element.children;
    const isSaid = key === "about" || remark?.outerHTML === SHELL.unsigned;
    if (tagOf(element) !== made.outerHTML || heading?.outerHTML !== `<h2 id="${key}">${TITLES[key]}</h2>` || !isSaid) {
      refuse();
      return null;
    }
    made.append(copyOf(heading));
    heading.remove();
    if (!isTidy(element)) refuse();
    for (const child of element.children) {
      if (isPlain(child)) made.append(copyOf(child, refuse));
      else refuse();
    }
    if (key === "about") {
      this.about = element.textContent.trim();
      if (made.querySelectorAll("dl").length !== 1 || made.children.length !== 2 || made.lastChild.localName !== "dl") refuse();
    }
    return made;
  }

  takeRows(element) {
    const blank = element.cloneNode(false);
    const start = [...element.childNodes].findIndex((each) => each.localName === "div");
    blank.append(...[...element.childNodes].slice(0, start < 0 ? element.childNodes.length : start).map((each) => each.cloneNode(true)));
    const made = copyOf(blank);
    if (blank.outerHTML !== SHELL.rows || !isTidy(element)) this.faults.add("the part with the rows");
    const stored = new Map(this.data.rows.map(([index, signature, proof]) => [index, { signature, proof }]));
    const bare = bareRow();
    for (const part of [...element.children].slice(2)) {
      const isPart = /^<div class="rows( full)?"><\/div>$/.test(tagOf(part)) && isTidy(part);
      if (!isPart) this.faults.add("the part with the rows");
      if (part.localName !== "div") continue;
      const place = document.createElement("div");
      place.className = part.className === "rows full" ? "rows full" : "rows";
      for (const row of part.children) place.append(this.takeRow(row, stored, bare));
      made.append(place);
    }
    return made;
  }

  takeRow(element, stored, bare) {
    const { row, made } = readRow(element, stored, bare);
    this.rows.push(row);
    this.elements.push(made);
    return made;
  }
}

// What the page carries besides its rows, or null where it is not what a report carries.
function readData(element) {
  const isOurs = element?.getAttributeNames().join() === "type,id" && element.type === "application/json" && element.id === "safeloop-data";
  if (!isOurs) return null;
  let data;
  try {
    data = JSON.parse(element.textContent);
  } catch {
    return null;
  }
  const isList = (value) => Array.isArray(value);
  const isWhole = isObject(data) && Object.hasOwn(PARTS, data.scope) && [data.rows, data.leaves, data.logs, data.writers, data.revoked].every(isList);
  return isWhole && data.rows.every(isList) && data.revoked.every(isList) ? data : null;
}

function bareRow() {
  const row = document.createElement("details");
  for (const [name, value] of [["class", "row"], ["id", ""], ["data-index", ""]]) row.setAttribute(name, value);
  const line = document.createElement("summary");
  for (const name of ["mark", "cell number", "cell at", "cell kind", "cell place", "cell gist"]) {
    const cell = document.createElement("span");
    cell.className = name;
    line.append(cell);
  }
  line.firstChild.textContent = MARKS.unchecked;
  const body = document.createElement("pre");
  body.setAttribute("data-form", "");
  row.append(line, body);
  return row;
}

// A row as it was read, and made anew of what was read; it is whole where the one in the file was exactly that.
function readRow(element, stored, bare) {
  const [line, body] = element.children;
  const cells = [...(line?.children || [])].slice(1, 6).map((cell) => cell.textContent);
  const form = body?.getAttribute("data-form") || "exact";
  const text = body?.textContent || "";
  const raw = element.getAttribute("data-index") || "";
  const made = bare.cloneNode(true);
  made.id = `row-${cells[0]}`;
  made.setAttribute("data-index", raw);
  cells.forEach((cell, at) => (made.firstChild.children[at + 1].textContent = cell));
  made.lastChild.setAttribute("data-form", form);
  made.lastChild.textContent = text;
  const isOpen = element.hasAttribute("open"); // whoever reads may have opened it while the page came
  element.removeAttribute("open");
  const isSame = made.outerHTML === element.outerHTML;
  made.open = isOpen;
  const index = Number(raw);
  const { signature, proof } = stored.get(index) || { signature: null, proof: null };
  const bytes = bodyOf(text, form);
  const row = {
    index,
    body: bytes,
    signature: signature === null ? null : fromBase64(signature),
    proof: Array.isArray(proof) ? proof.map(fromBase64) : null,
    cells,
    isWhole: isSame && isSpelled(bytes, form, text),
  };
  return { row, made };
}

// A place for the verdict where the page's own cannot be used: nothing can be pasted there.
function bareVerdict() {
  const made = document.createElement("section");
  made.id = "verdict";
  made.setAttribute("aria-label", "Verdict");
  for (const [tag, id] of [
    ["p", "verdict-title"], ["div", "verdict-text"], ["p", "progress"], ["textarea", "pins"], ["button", "verify"], ["p", "pins-error"],
  ]) {
    const part = document.createElement(tag);
    part.id = id;
    part.hidden = ["pins", "verify"].includes(id);
    made.append(part);
  }
  return made;
}
