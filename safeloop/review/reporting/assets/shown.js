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
