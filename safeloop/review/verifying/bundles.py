"""A released bundle, judged as the release itself was: now, by pinned keys, from its own bytes alone. Pure.

The rows come from receipts. Those from the session's close to the release are a chain without a gap, so that no
reject between them can be left out, and the gate is asked the same question that it was asked at the release. The
statements must be about this frame, these sums and this output; the sums must be those of the files, and of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from safeloop.errors import EncodingError, KeyUnusable, VerificationError
from safeloop.ledger import Row, visible
from safeloop.ledger.trust import Trust
from safeloop.ledger.visible import moment_text
from safeloop.review.attesting.attestation import FRAME, OUTPUT, SUMS, Digests
from safeloop.review.record import Record
from safeloop.review.releasing.bundle import CHECKPOINT, RECEIPTS, receipt_name
from safeloop.review.releasing.gate import Verdict, decide
from safeloop.review.releasing.judging import judge_attestations
from safeloop.review.releasing.policy import ReleasePolicy, parse_policy, read_canonical
from safeloop.review.verifying.contents import (
    NOT_IT,
    Files,
    compare_sums,
    compare_with_rows,
    proof_file,
    proof_text,
    require_exactly,
)
from safeloop.review.verifying.heads import judge_head, open_kept
from safeloop.review.verifying.receipts import Receipted, open_receipt
from safeloop.review.verifying.stories import Story, story_of
from safeloop.review.verifying.verification import Findings, Verification
from safeloop.review.witnesses import SignedHead, open_head
from safeloop.spec.released import PROOF


def verify_bundle(files: Files, trust: Trust, now: datetime, kept: Sequence[str] = ()) -> Verification:
    """Verify the folder of a release.

    Args:
        files: Everything in the folder.
        trust: The reader's pins; where it has a `release.toml`, that policy must be satisfied too.
        now: The (aware) moment at which reviewers' keys must be pinned.
        kept: Signed notes that the reader kept.

    Raises:
        KeyUnusable: The reader's own `release.toml` is not understood.
    """
    findings = Findings()
    facts: dict[str, object] = {}
    if not any(path.startswith(f"{PROOF}/") for path in files):
        findings.refuse(f"there is no folder {PROOF}/ with a proof in it, and nothing to verify",
                        "name the folder that safeloop release made")
        return findings.verification("release", facts, is_self=trust.is_self)
    _Reading(files, trust, now, findings, facts).judge(open_kept(kept, trust, findings))
    return findings.verification("release", facts, is_self=trust.is_self)


class _Reading:
    """One bundle being judged; what is independent is judged on, whatever was found before."""

    def __init__(
        self, files: Files, trust: Trust, now: datetime, findings: Findings, facts: dict[str, object]
    ) -> None:
        self._files, self._trust, self._now, self._findings, self._facts = files, trust, now, findings, facts

    def judge(self, kept: Sequence[SignedHead]) -> None:
        """Judge everything that can be judged."""
        head = self._head()
        receipts = tuple(self._receipts(head))
        sums = compare_sums(self._files, self._findings)
        story = story_of([each.row for each in receipts], self._findings) if receipts else None
        if not receipts:
            self._findings.refuse(f"there is no receipt in {PROOF}/{RECEIPTS}", NOT_IT)
        if head is not None:
            self._facts |= {"ledger": head.checkpoint.origin, "size": head.checkpoint.size}
            judge_head(head, kept, self._trust, self._findings)
        if head is None or story is None or sums is None:
            return
        self._facts["files"] = sorted(sums, key=str.encode)
        compare_with_rows(self._files, story, sums, self._findings)
        rests_on = self._ask_the_gate(story, head)
        if rests_on is not None:
            require_exactly(self._files, story, rests_on, sums, self._findings)

    def _head(self) -> SignedHead | None:
        try:
            return open_head(proof_text(self._files, CHECKPOINT), self._trust)
        except (KeyUnusable, VerificationError) as error:
            self._findings.refuse(f"{PROOF}/{CHECKPOINT}: {error.message}", error.hint or NOT_IT)
        return None

    def _receipts(self, head: SignedHead | None) -> Iterator[Receipted]:
        for path in sorted(self._files):
            name = path.removeprefix(f"{PROOF}/")
            if name == path or not name.startswith(RECEIPTS) or name.endswith("/"):
                continue
            try:
                found = open_receipt(proof_text(self._files, name), self._trust)
            except (KeyUnusable, VerificationError) as error:
                self._findings.refuse(f"{visible(path)}: {error.message}", error.hint or NOT_IT)
                continue
            if receipt_name(found.row.id) != name:
                self._findings.refuse(f"{visible(path)} is the receipt of row {found.row.id}", NOT_IT)
            elif head is not None and found.head.checkpoint != head.checkpoint:
                self._findings.refuse(f"{path} leads to another checkpoint than {CHECKPOINT}", NOT_IT)
            elif not found.is_known:
                self._findings.refuse(f"{path}: this version does not know rows of kind {found.row.kind}",
                                      "pip install --upgrade safeloop")
            else:
                yield found

    def _ask_the_gate(self, story: Story, head: SignedHead) -> tuple[Row, ...] | None:
        """Ask whether this may have been released, and return the attestations that it rests on, if it can be asked."""
        release = story.release
        self._facts["judged_at"] = moment_text(self._now)
        record = Record(head.checkpoint.origin, release.session, story.rows, head.checkpoint, head.note)
        self._facts |= {"session": release.session, "row": release.id, "released_at": release.at}
        rule = f"the policy of row {release.id}"
        try:
            digests = self._digests()
            policies = [(rule, read_canonical(release.data["policy"]))]
        except (EncodingError, VerificationError) as error:
            self._findings.refuse_error(error, NOT_IT, rule if isinstance(error, EncodingError) else "")
            return None
        own = self._trust.release_policy_text
        if own is not None:
            where = str(self._trust.path / "release.toml")
            policies.append((where, parse_policy(own, where)))
        judged = judge_attestations(record, digests, self._trust, self._now)
        named = [row for row in story.attestations if row.leaf in release.data["attestations"]]
        for where, policy in policies:
            verdict = decide(record, judged, policy, frame=digests.frame, operator_keys=self._trust.operator_keys)
            self._refuse_by(where, policy, verdict, named)
        if len(named) != len(set(release.data["attestations"])):
            self._findings.refuse(f"row {release.id} rests on an attestation that is not in the bundle", NOT_IT)
        self._findings.unproved += verdict.ignored
        self._tell(verdict, story, head)
        return tuple(named)

    def _refuse_by(self, where: str, policy: ReleasePolicy, verdict: Verdict, named: Sequence[Row]) -> None:
        for reason in verdict.reasons:
            told = "; ".join([reason.message, *verdict.ignored])
            # The gate's own hints are for whoever has the ledger, and can still attest.
            self._findings.refuse(f"{where} does not release it: {told}", NOT_IT)
        counting = {row.leaf for row in verdict.accepts}
        for row in named:
            if row.leaf not in counting:
                self._findings.refuse(f"the release rests on row {row.id}, which is no accept that counts now", NOT_IT)
        if len(counting.intersection(row.leaf for row in named)) < policy.accepts and not verdict.reasons:
            self._findings.refuse(f"{where} asks for {policy.accepts} accepts, and the release rests on {len(named)}",
                                  NOT_IT)

    def _tell(self, verdict: Verdict, story: Story, head: SignedHead) -> None:
        """Say what a reader may conclude if nothing was found."""
        size = head.checkpoint.size
        self._facts["reviewers"] = [row.data["reviewer"] for row in verdict.accepts]
        session = story.release.session
        self._findings.proved += [
            f"{len(story.rows)} rows of session {session} are in ledger {head.checkpoint.origin}, under "
            f"its checkpoint of {size:,} rows, and pinned writers signed them",
            *(f"{row.data['reviewer']} accepted this frame, these files and this output: row {row.id}"
              for row in verdict.accepts),
            f"each of their keys may review at {moment_text(self._now)}, by the clock of this machine",
            f"every decision about it before its release is here: rows {story.cut.id} to {story.release.id} have no "
            "gap in their session",
        ]
        self._findings.unproved += [
            f"that it is the release which you expect: this is session {session}, and any other that was accepted is "
            f"verified too; it says that it was released at {story.release.at}",
            "modes, owners and times of the files, and that nobody changes them after they were read here",
            f"what came after row {story.release.id}: whether somebody rejected it since says the ledger alone",
            f"that {PROOF}/{FRAME} shows what the session's rows say: its reviewers signed it, content is not here",
        ]

    def _digests(self) -> Digests:
        output = self._files.get(f"{PROOF}/{OUTPUT}")
        frame, sums = proof_file(self._files, FRAME), proof_file(self._files, SUMS)
        return Digests(frame.sha256, sums.sha256, None if output is None else output.sha256)
