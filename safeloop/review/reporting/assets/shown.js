// What the page shows of a row, and how it is written there: what a reader sees is what is verified, so that both are
// made from the row's bytes again and compared.

const TOKENS = { intent: "reserved_tokens", attempt: "charged_tokens", turn: "token_delta", close: "total_tokens" };
const COST = { intent: "reserved_microusd", attempt: "charged_microusd", turn: "cost_microusd", close: "cost_microusd" };
const WORD = {
  open: "model", turn: "stop_reason", call: "tool", tool: "tool", approval: "decision", breach: "breach_reason",
  check: "criterion", close: "outcome", attestation: "decision", key: "event",
};

// The bytes of a body from the text in the page, by the form that the page names.
function bodyOf(text, form) {
  if (form === "base64") return fromBase64(text) || new Uint8Array();
  return utf8.encode(form === "escaped" ? unescaped(text) : text);
}

// Characters that are not seen are shown as \u{hex}, and a backslash as two.
function unescaped(text) {
  return text.replace(/\\(?:\\|u\{([0-9a-f]{1,6})\})/g, (_, hex) => (hex ? String.fromCodePoint(parseInt(hex, 16)) : "\\"));
}

const UNSEEN = new RegExp(
  "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f" +
    "\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffb\\ud800-\\udfff\\u{13430}-\\u{1345f}\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}" +
    "\\u{e0000}-\\u{e0fff}]", "u",
);
const SEEN = /^[\n\x20-\x7e]*$/;

// The characters that are not seen, lines and tabs too, as the page writes them.
function escaped(text) {
  if (SEEN.test(text) && !/[\\\n]/.test(text)) return text;
  const unseen = (each) => each === "\t" || each === "\n" || UNSEEN.test(each);
  return Array.from(text, (each) => (each === "\\" ? "\\\\" : unseen(each) ? `\\u{${each.codePointAt(0).toString(16)}}` : each)).join("");
}

// Whether a text is the one by which the page writes these bytes: what is not seen must not stand there as it is.
function isSpelled(bytes, form, text) {
  let read;
  try {
    read = strictUtf8.decode(bytes);
  } catch {
    return form === "base64" && text === toBase64(bytes);
  }
  const isUnseen = (!SEEN.test(read) && (UNSEEN.test(read) || read.includes("\t"))) || read.startsWith("\n");
  return isUnseen ? form === "escaped" && text === escaped(read) : form === "exact" && text === read;
}

function cellsOf(index, body) {
  if (body === null) return [String(index + 1), "", "unreadable", "", ""];
  return [String(index + 1), body.at, body.kind, `${body.session} n ${body.n}`, gistOf(body.kind, body.data)];
}

function gistOf(kind, data) {
  const parts = [];
  if (Number.isInteger(data.turn)) parts.push(`turn ${data.turn}`);
  if (kind in TOKENS && Number.isInteger(data[TOKENS[kind]])) parts.push(`${data[TOKENS[kind]]} tokens`);
  if (kind in COST && Number.isInteger(data[COST[kind]])) parts.push(`${data[COST[kind]]} microusd`);
  if (typeof data.pass_fail === "boolean") parts.push(data.pass_fail ? "PASS" : "FAIL");
  if (kind in WORD && typeof data[WORD[kind]] === "string") parts.push(data[WORD[kind]]);
  return parts.join(", ");
}
