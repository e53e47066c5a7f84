"""The checks of the audit, each with what stands in its place once it is taken out, and an attack that is aimed at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safeloop.review.auditing.findings import Rule
from tests.attacks.without import (
    NO_ORIGIN,
    any_log,
    any_writer,
    anybody,
    as_equal,
    but_for,
    consent,
    finish_blindly,
    first_key,
    follow_anything,
    loosely,
    never,
    nothing,
    open_on_anything,
    read_anything,
    refusal,
    silence,
    until_it_breaks,
    unverified,
    unwitnessed,
    voice_of_its_own,
    whatever_the_rows_make,
    without_gaps,
)

AUDITING = "safeloop.review.auditing"
WORD = f"{AUDITING}.word"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the audit.

    Attributes:
        name: What it asks.
        where: The function or method that asks it, by its full name.
        without: What stands there once it is taken out.
        attack: An attack of the corpus that is aimed at it.
    """

    name: str
    where: str
    without: Any
    attack: str


def asked(name: str, rule: Rule, where: str, attack: str) -> Check:
    """Return a check of one rule in a function that asks more than one."""
    return Check(name, where, but_for(rule, where), attack)


OF_THE_RECORD = (
    Check("the writer's signature", f"{AUDITING}.testimony.ed25519.verify", consent, "a field is edited"),
    Check("the writer is pinned", "safeloop.ledger.trust.Trust.writer", any_writer,
          "a row is signed by a key that nobody pinned"),
    Check("no key of small order", "safeloop.ledger.ed25519.check_public_key", never,
          "a small order key is pinned and signs a row"),
    Check("the canonical encoding", f"{AUDITING}.testimony.parse_row", loosely, "a key is there twice"),
    Check("the row's form", "safeloop.ledger.rows.check_envelope", never, "a session takes the reserved name"),
    Check("revocation", f"{AUDITING}.testimony._revoked", silence, "a revoked key signs a row and backdates it"),
    Check("the row's own ledger", f"{AUDITING}.examination.Examination.origin", NO_ORIGIN, "a row names another ledger"),
    Check("the chain of a session", f"{AUDITING}.chains.Chains.follow", follow_anything,
          "a field is edited and row and head signed again"),
    Check("one opening, on its own spec", f"{AUDITING}.chains.Chains.tell", open_on_anything, "a session is opened twice"),
    Check("the form of a kind", f"{AUDITING}.testimony.check_data", never, "a row has the data of no kind"),
    Check("content is what was committed", "safeloop.ledger.store.contents.check_content", never, "a reply is changed"),
    Check("content is there", f"{AUDITING}.contents.ContentCheck.finish", finish_blindly,
          "the result of a tool is removed"),
    Check("an attestation and its row agree", f"{AUDITING}.examination.misstatement", silence,
          "words are put into a reviewers mouth"),
    Check("the head's signature", "safeloop.ledger.note.ed25519.verify", consent,
          "a rows signature is offered as a heads"),
    Check("the root that the head signs", f"{AUDITING}.trees.Trees._choose", whatever_the_rows_make,
          "rows cut off at the end and the tree rebuilt"),
    Check("rows beyond the head", f"{AUDITING}.trees._extend", never, "a row is appended without the log key"),
    Check("rows in the head's place", f"{AUDITING}.trees._extend", never, "a field is edited and the row signed again"),
    Check("positions without gaps", f"{AUDITING}.trees.Trees.finish", without_gaps, "a row is deleted"),
    Check("the stored hashes", f"{AUDITING}.trees._differing", nothing,
          "stored hashes: UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 4"),
    Check("the indexes", f"{AUDITING}.audit.IndexCheck.finish", nothing, "an index hides a row"),
    Check("children by parent", f"{AUDITING}.audit.IndexCheck.finish", nothing, "children by parent: one is hidden"),
    *(Check("charged hours", f"{AUDITING}.charges._is_same", consent, attack) for attack in (
        "charged hours: tokens are lowered", "charged hours: tokens are raised", "charged hours: tokens are negative",
    )),
    Check("hours that are listed", f"{AUDITING}.charges.ChargeCheck._compare", never, "charged hours: every hour is deleted"),
    *(Check("what is charged", f"{AUDITING}.charges.ChargeCheck.finish", nothing, attack) for attack in (
        "charged hours: an hour is put before all", "charged hours: an hour is put after all",
        "charged hours of another type: text", "the page of the hours is overwritten",
    )),
    Check("held intents", f"{AUDITING}.charges.ChargeCheck._differing", nothing, "held intents: a reservation is removed"),
    Check("held intents", f"{AUDITING}.charges.ChargeCheck._differing", nothing,
          "held intents: what was settled is held again"),
    *(Check("types of what is charged", f"{AUDITING}.charges._is_same", as_equal, attack) for attack in (
        "charged hours of another type: a real that is equal", "held intents of another type: a place that is real",
    )),
    Check("the schema", f"{AUDITING}.audit.compare_schema", nothing, "the schema rewritten: ledger"),
    *(Check("the schema", f"{AUDITING}.audit.compare_schema", nothing, attack) for attack in (
        "the schema altered: DROP TABLE hour", "a view in place of the table held",
        "the schema altered: DROP INDEX row_parent",
    )),
    Check("key rows", f"{AUDITING}.keyring.Keyring._tell", lambda *_: ("", Rule.KEY),
          "a rotation names a key that never took part"),
    Check("the state", f"{AUDITING}.audit.compare_state", nothing,
          "an older file put back, before an auditor with the state of the machine that writes"),
    Check("a kept checkpoint", f"{AUDITING}.audit.compare_kept", nothing,
          "history rewritten with both keys, before an auditor with a checkpoint that somebody kept"),
    Check("the file is a ledger of this version", "safeloop.ledger.store.rows.database.check_ours", never,
          "the file's marks changed: user_version = 2"),
    Check("the file can be read", f"{AUDITING}.audit.blocks", until_it_breaks, "the pages of the rows are overwritten"),
    Check("there are rows", f"{AUDITING}.audit._Audit._read", read_anything,
          "the ledger is made empty and the head signed again"),
    Check("the log is pinned", "safeloop.ledger.trust.Trust.log_for", any_log,
          "a ledger started afresh under the same keys, before an auditor with pinned keys"),
    Check("the log key is not revoked", "safeloop.ledger.trust.signing_log", first_key,
          "the head is signed by a log key that was revoked"),
    Check("a quorum of witnesses", f"{AUDITING}.audit.judge_witnesses", unwitnessed,
          "the witness that the policy demands has seen nothing"),
    *(Check("a cosignature's signature", "safeloop.ledger.cosignature.ed25519.verify", consent, attack) for attack in (
        "a cosignature of an earlier head is put under a later one", "a heads signature is offered as a cosignature",
        "the operator cosigns in the witnesss name",
    )),
    *(Check("no key of small order", "safeloop.ledger.ed25519.check_public_key", never, attack) for attack in (
        "a small order key is pinned as a log and signs the head", "a small order key is pinned as a witness and cosigns",
        "a small order key is pinned as a reviewer and attests",
    )),
    Check("an earlier audit's checkpoint goes on", f"{AUDITING}.audit.compare_kept", nothing,
          "what was audited before is told otherwise and signed anew"),
    Check("an earlier audit's checkpoint is signed", f"{AUDITING}.anchors.verify_checkpoint", unverified,
          "an audit that never was is named as the earlier one"),
    Check("rows of an earlier audit are the head's", f"{AUDITING}.trees._extend", never,
          "a row that was audited before is changed"),
    Check("the chain, in an audit of the tree", f"{AUDITING}.chains.Chains.follow", follow_anything,
          "two rows change places before an audit of the tree"),
    asked("a manifest's form", Rule.MANIFEST, f"{AUDITING}.contents.ContentCheck._walk",
          "a manifest outside the format: a key is there twice"),
    asked("a manifest's number", Rule.MANIFEST, f"{AUDITING}.contents.ContentCheck._walk",
          "a row counts more files than its manifest lists"),
    Check("files, each once", f"{AUDITING}.promised.files_fault", silence,
          "a file is listed twice so that two readers see two"),
    Check("files, each with its name", f"{AUDITING}.promised.files_fault", silence, "a file is listed without its name"),
    Check("the task's own digest", f"{AUDITING}.contents.digest_fault", silence, "another task is claimed than was given"),
    Check("the frame's own digest", f"{AUDITING}.contents.digest_fault", silence, "another frame is kept than was signed"),
    asked("a replaced writer signs no more", Rule.KEY, f"{AUDITING}.keyring.Keyring.follow",
          "a writer goes on after another took its place"),
    asked("a writer that a row revoked", Rule.REVOKED, f"{AUDITING}.keyring.Keyring.follow",
          "a writer goes on after a row revoked it"),
    Check("a former log key signs no head", f"{AUDITING}.keyring.Keyring.judge_head", nothing,
          "a log key goes on after another took its place"),
    Check("what is not known is said", f"{AUDITING}.examination.Examination._note_unknown", never,
          "a row of a later kind is added"),
    Check("what was erased is said", f"{AUDITING}.contents.ContentCheck._gaps", nothing,
          "content is removed and a signed row says so"),
    Check("what no loop opened is said", f"{AUDITING}.chains.Chains.ungoverned", nothing, "a session is never opened"),
)

OF_THE_WORD = (
    Check("ceilings as promised", f"{WORD}.word.loosened", nothing,
          "a session is opened under looser ceilings than were promised"),
    Check("nothing beyond a ceiling", f"{WORD}.word.crossed", nothing, "a request is granted beyond the ceiling"),
    *(Check("no more than was reserved", f"{WORD}.intents.{each}", nothing, "a request asks for more than was wanted")
      for each in ("reserve", "_beyond_limits")),
    Check("an intent before each reply", f"{WORD}.intents.settle", nothing, "a reply had no intent before it"),
    Check("what was used is charged", f"{WORD}.intents._undercharged", nothing, "a reply is charged less than it used"),
    Check("sums", f"{WORD}.closing.close", nothing, "a close row adds up otherwise than its session"),
    Check("a true outcome", f"{WORD}.closing._false_outcome", silence, "a close row claims a breach that never was"),
    Check("nothing after the close", f"{WORD}.word.Word._after", nothing, "work goes on after the close"),
    Check("accepts enough for a release", f"{WORD}.releases.faults", nothing, "a release rests on nobodys word"),
    Check("one key is one voice", f"{WORD}.releases.Voice", voice_of_its_own,
          "one key under two names is counted twice"),
    asked("an open row before the work", Rule.BEGUN, f"{WORD}.word.Word._open", "a session is opened after its work"),
    Check("nothing in the ledger's own name", f"{WORD}.word.Word._of_the_ledger", nothing,
          "a loop runs in the name of the ledger itself"),
    Check("tools as promised", f"{WORD}.word.ungranted", nothing,
          "a session is opened with a tool of a permission that was not promised"),
    Check("tools by name as promised", f"{WORD}.word.ungranted", nothing,
          "a session is opened with tools that the promise does not name"),
    asked("turns without gaps", Rule.INTENT, f"{WORD}.intents.reserve", "a turn is left out of the count"),
    asked("the model of the open row", Rule.INTENT, f"{WORD}.intents.reserve",
          "another model is asked than the session was opened for"),
    asked("an intent is its own turn's", Rule.INTENT, f"{WORD}.intents.settle",
          "a reply settles the intent of another turn"),
    asked("an intent is settled once", Rule.INTENT, f"{WORD}.intents.settle", "one intent is settled twice"),
    Check("doubt is charged in full", f"{WORD}.intents._in_full", nothing,
          "an attempt in doubt is charged less than its reservation"),
    Check("no usage is charged in full", f"{WORD}.intents._in_full", nothing,
          "a reply says nothing of its usage and is charged one token"),
    Check("an overrun is called one", f"{WORD}.intents._undercharged", nothing, "an overrun is passed over in silence"),
    Check("a reply has a price", f"{WORD}.intents._undercharged", nothing,
          "replies without a price give back what was reserved for them"),
    Check("time", f"{WORD}.intents._time_and_errors", nothing, "a request is granted when the time is over"),
    Check("time that runs on", f"{WORD}.intents._time_and_errors", nothing,
          "the clock is set back under a ceiling on time"),
    Check("errors", f"{WORD}.intents._time_and_errors", nothing, "a request is granted after too many errors"),
    Check("tool calls", f"{WORD}.calls._counted", nothing, "a tool is called beyond the ceiling"),
    *(Check("tool calls, descendants' too", f"{WORD}.calls.too_many_calls", nothing, attack) for attack in (
        "a tool is called beyond the ceiling", "a parent makes the call that its child has used up",
        "a child calls a tool that its parent has not left",
    )),
    asked("tool calls of ancestors", Rule.PARENT, f"{WORD}.calls._counted",
          "two children race past their parents ceiling on calls"),
    asked("a call row before a read", Rule.CALL, f"{WORD}.calls.outcome",
          "a read runs unannounced where calls are limited"),
    Check("whether calls are limited", f"{WORD}.scopes.Account.limits_calls", refusal,
          "a read runs unannounced where calls are limited"),
    Check("no price, no grant", f"{WORD}.word.crossed", nothing,
          "a request without a price is granted under a ceiling on cost"),
    asked("ceilings on what was granted", Rule.CEILING, f"{WORD}.word.Word._intent",
          "a reconciliation takes back what was never in doubt"),
    asked("an open parent", Rule.PARENT, f"{WORD}.word.Word._open",
          "a child is opened under a parent that is closed"),
    *(asked("a parent that is one", Rule.PARENT, f"{WORD}.word.Word._open", attack) for attack in (
        "a child is opened under a parent that never was", "a session is its own parent",
        "two sessions are each others parents", "a child is opened under a parent that has only promised",
    )),
    *(asked("what an ancestor has left", Rule.PARENT, f"{WORD}.word.Word._shared", attack) for attack in (
        "a child costs what its parent could not pay", "a child takes the turn that its parent has not left",
        "a grandchild spends what its grandparent could not",
        "a child without a price spends for a parent with a ceiling on cost",
    )),
    Check("what a child has spent", f"{WORD}.word.crossed", nothing, "a parent forgets what its child has spent"),
    *(Check("limits as they stood", f"{WORD}.windows.Windows._beyond", nothing, attack) for attack in (
        "sessions cost more than the day allows", "every day is fine and the month is not",
        "limits are raised afterwards by a row that is backdated", "limits are raised in the name of a session",
    )),
    asked("ceilings of ancestors", Rule.PARENT, f"{WORD}.word.Word._shared", "a child spends what its parent could not"),
    asked("windows", Rule.WINDOW, f"{WORD}.word.Word._shared", "a second session spends what the hour has not left"),
    Check("windows of spend", f"{WORD}.windows.Windows.crossed", nothing, "a clock set back does not empty the hour"),
    Check("windows of sessions", f"{WORD}.windows.Windows.open_session", nothing,
          "one more session is opened than the day allows"),
    Check("what a window holds", f"{WORD}.windows.Windows._beyond", nothing,
          "a second session spends what the hour has not left"),
    asked("nothing after a breach", Rule.BREACH, f"{WORD}.order.move", "a loop goes on after a breach"),
    Check("no resumption after a breach", f"{WORD}.order._misplaced", never, "a breached session is resumed"),
    Check("nothing while suspended", f"{WORD}.order._misplaced", never,
          "a suspended session goes on before it resumes"),
    asked("tools as listed", Rule.TOOL, f"{WORD}.calls.outcome", "a tool runs that was never listed"),
    asked("nothing written in a dry run", Rule.CALL, f"{WORD}.calls._pretended",
          "a tool writes in a session that was opened as a dry run"),
    asked("a call row before", Rule.CALL, f"{WORD}.calls.outcome", "a tool writes without having said so before"),
    asked("a call row for each run", Rule.CALL, f"{WORD}.calls.outcome", "one call row is used for two runs"),
    asked("the call row's facts", Rule.CALL, f"{WORD}.calls.outcome",
          "a tool runs with other arguments than were announced"),
    asked("an approval", Rule.APPROVAL, f"{WORD}.calls.outcome", "a destructive call runs without an approval"),
    *(Check("a grant that holds", f"{WORD}.calls._unapproved", silence, attack) for attack in (
        "a destructive call runs though it was refused", "a destructive call runs on an approval that has expired",
        "an approval is used twice",
    )),
    *(Check("a grant that was given for this run", f"{WORD}.calls._misused", silence, attack) for attack in (
        "an approval is copied for a second run of its call",
        "a clock is set back to revive an approval that has expired",
    )),
    *(Check("a grant that was signed for it", f"{WORD}.calls._fault", silence, attack) for attack in (
        "an approval of one call is moved to another", "an approval is forged",
        "an approval is signed by a stranger in the reviewers name", "the operator approves with the writer key",
    )),
    *(Check("an outcome that the rows show", f"{WORD}.closing._false_outcome", silence, attack) for attack in (
        "a breached session is called completed", "a session is called completed after a check that failed",
        "a session is called completed and a criterion was never checked",
    )),
    Check("a release of what was opened", f"{WORD}.word.Word._begin", nothing, "a session is released that nobody opened"),
    Check("a release of what was closed", f"{WORD}.word._unclosed", nothing,
          "a session is released before it is closed"),
    Check("the outcome allows a release", f"{WORD}.releases.faults", nothing, "what failed is released"),
    Check("the files of the close row", f"{WORD}.releases.faults", nothing,
          "other files are released than the session made"),
    Check("a pinned reviewer's word", f"{WORD}.releases.pinned", anybody, "a release rests on the word of a stranger"),
    Check("accepts, and none against them", f"{WORD}.releases._unsupported", nothing,
          "a release goes out against a reject"),
)

CHECKS = (*OF_THE_RECORD, *OF_THE_WORD)
