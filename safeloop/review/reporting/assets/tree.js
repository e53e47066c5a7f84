// The RFC 6962 Merkle tree over the rows' leaves.

function parentOf(left, right) {
  const node = new Uint8Array(1 + left.length + right.length);
  node[0] = 1;
  node.set(left, 1);
  node.set(right, 1 + left.length);
  return sha256(node);
}

// The root over leaf hashes; of none, SHA-256 of nothing. Level by level: a last hash without a partner goes up as it is,
// which is the split at the largest power of two (RFC 6962, 2.1).
async function treeRoot(leaves) {
  if (leaves.length === 0) return sha256(new Uint8Array());
  let level = leaves;
  while (level.length > 1) {
    const above = [];
    for (let at = 0; at + 1 < level.length; at += 2) above.push(parentOf(level[at], level[at + 1]));
    if (level.length % 2) above.push(level[level.length - 1]);
    level = await Promise.all(above);
  }
  return level[0];
}

// Whether an inclusion proof leads from a leaf to a root (RFC 9162, 2.1.3.2).
async function isIncluded(leaf, index, size, proof, root) {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  let position = BigInt(index);
  let last = BigInt(size - 1);
  let digest = leaf;
  for (const step of proof) {
    if (step === null || step.length !== 32 || last === 0n) return false;
    if (position & 1n || position === last) {
      digest = await parentOf(step, digest);
      while (!(position & 1n) && position !== 0n) {
        position >>= 1n;
        last >>= 1n;
      }
    } else {
      digest = await parentOf(digest, step);
    }
    position >>= 1n;
    last >>= 1n;
  }
  return last === 0n && sameBytes(digest, root);
}
