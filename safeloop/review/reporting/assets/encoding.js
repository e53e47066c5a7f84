// The canonical encoding: RFC 8785 (JCS), restricted to integers, plain keys, 16 levels; and the nine keys of a body.

const MOST_BODY_BYTES = 60000;
const MOST_LEVELS = 16;
const NINE_KEYS = ["at", "data", "kind", "ledger", "n", "prev", "session", "v", "writer"];
const FORMS = {
  at: /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/,
  kind: /^[a-z_]{1,32}$/,
  ledger: /^(?=.{1,200}$)[a-z0-9.-]+(\/[a-z0-9._-]+)+$/,
  prev: /^[0-9a-f]{64}$/,
  session: /^(?!latest$)[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/,
  writer: /^[0-9a-f]{64}$/,
};

class EncodingError extends Error {}
class UnknownVersion extends EncodingError {}

// The value of bytes that are exactly the canonical encoding of it; anything else throws EncodingError.
function parseCanonical(bytes) {
  let text;
  let value;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    throw new EncodingError("not UTF-8");
  }
  try {
    value = JSON.parse(text);
  } catch {
    throw new EncodingError("not JSON");
  }
  if (encodeCanonical(value, 1) !== text) {
    throw new EncodingError("not canonical: duplicate or unsorted keys, spaces, escapes or number forms");
  }
  return value;
}

function encodeCanonical(value, level) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new EncodingError("a number that is no integer within ±(2^53-1)");
    return String(value);
  }
  if (typeof value === "string") return encodeString(value);
  if (level > MOST_LEVELS) throw new EncodingError(`nested deeper than ${MOST_LEVELS} levels`);
  if (Array.isArray(value)) return `[${value.map((item) => encodeCanonical(item, level + 1)).join(",")}]`;
  const keys = Object.keys(value).sort();
  for (const key of keys) {
    if (!/^[a-z0-9_]+$/.test(key)) throw new EncodingError("a key does not match [a-z0-9_]+");
  }
  return `{${keys.map((key) => `"${key}":${encodeCanonical(value[key], level + 1)}`).join(",")}}`;
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\ud7ff\ue000-\uffff]*$/;

function encodeString(value) {
  if (PLAIN.test(value)) return `"${value}"`;
  if (value.includes("\0")) throw new EncodingError("text holds U+0000");
  if (!value.isWellFormed()) throw new EncodingError("text holds a lone surrogate");
  return JSON.stringify(value);
}

// The body of a row: parsed, with exactly the nine keys of version 1, each in its form.
function parseBody(bytes) {
  if (bytes.length > MOST_BODY_BYTES) throw new EncodingError(`the body has ${bytes.length} bytes`);
  const body = parseCanonical(bytes);
  if (!isObject(body)) throw new EncodingError("the body is not an object");
  if (Number.isInteger(body.v) && body.v !== 1) throw new UnknownVersion(`version ${body.v} is not known to this page`);
  if (Object.keys(body).sort().join() !== NINE_KEYS.join()) {
    throw new EncodingError("the body's keys are not the nine of the format");
  }
  if (!Number.isInteger(body.v)) throw new EncodingError("v is not an integer");
  if (!isObject(body.data)) throw new EncodingError("data is not an object");
  if (!Number.isInteger(body.n) || body.n < 0) throw new EncodingError("n is not an integer from 0");
  for (const [key, form] of Object.entries(FORMS)) {
    if (typeof body[key] !== "string" || !form.test(body[key])) {
      throw new EncodingError(`${key} is not of the format's form`);
    }
  }
  if (!isTime(body.at)) throw new EncodingError("at is not a time that exists");
  return body;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// Every time of the calendar from year 1 on, of which an hour has no sixty-first second.
function isTime(at) {
  const [year, month, day] = [at.slice(0, 4), at.slice(5, 7), at.slice(8, 10)].map(Number);
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && isLeap ? 29 : [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] || 0;
  const isOfDay = at.slice(11, 13) < "24" && at.slice(14, 16) < "60" && at.slice(17, 19) < "60";
  return year > 0 && day > 0 && day <= days && isOfDay;
}
