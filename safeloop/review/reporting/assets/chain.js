// Sessions as their rows tell them: n counts without gaps, and prev is the leaf of the session's row before. A damaged
// row does not condemn the next: what names a leaf that is lost, or comes right after a damaged place, follows.

const NO_ROW = "0".repeat(64);

class Chains {
  constructor() {
    this.sessions = new Map();
    this.lost = new Set();
    this.damaged = new Set();
  }

  lose(leaf) {
    this.lost.add(leaf);
  }

  damage(body) {
    this.damaged.add(`${body.n} ${body.session}`);
  }

  // Add a row whose signature holds; say why it does not follow its session's rows, or "".
  follow(body, leaf, inPlace) {
    const known = this.sessions.get(body.session) || { size: 0, leaf: NO_ROW };
    let words = "";
    if (body.n !== known.size || body.prev !== known.leaf) words = this.breach(body, known);
    if (!words || (inPlace && body.n >= known.size)) this.sessions.set(body.session, { size: body.n + 1, leaf });
    return words;
  }

  breach(body, known) {
    const isAfterDamage = this.lost.has(body.prev) || this.damaged.has(`${body.n - 1} ${body.session}`);
    if (body.n >= known.size && isAfterDamage) return "";
    if (body.n !== known.size) return `is n ${body.n} of session ${body.session}, where n ${known.size} should follow`;
    return `its prev ${body.prev.slice(0, 8)} is not the leaf of the row before it in session ${body.session}`;
  }
}
