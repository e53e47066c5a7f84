"""What a loop must not do, and did: it acts without leave, goes on when it has stopped, and tells of itself what is not so.

The operator holds every key and signs it all; only the rows themselves can tell.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safeloop.ledger import encode, sshsig
from safeloop.ledger.rows import timestamp
from safeloop.ledger.trust import APPROVAL_NAMESPACE, REVIEW_NAMESPACE
from safeloop.review.releasing.policy import ReleasePolicy
from safeloop.spec import ToolGrant
from safeloop.spec.dry_run import marked
from tests.attacks.attack import meets
from tests.attacks.lies import tell
from tests.attacks.pen import APPROVER, Liar, Pen, gamma, pin_approver, publish
from tests.attacks.scene import Hand, Keys, public
from tests.attacks.words import operator_key
from tests.review.auditing.loops import PEOPLE, Loop

DELETE = ("delete_page", "destructive")


# Before a session, and around it.


@meets("begun:22", keys=Keys.BOTH, words="opens session gamma, whose work began in row 21")
def a_session_is_opened_after_its_work(hand: Hand) -> None:
    loop = gamma(hand)
    loop.spec()
    loop.ask().open(spec=loop.rows[0].leaf)
    publish(loop)


@meets(*(f"begun:{row}" for row in (21, 22, 23, 24)), keys=Keys.BOTH, words="close in session ledger, which no loop opens")
def a_loop_runs_in_the_name_of_the_ledger_itself(hand: Hand) -> None:
    """Rows about the ledger are in no session, and under no ceiling."""
    publish(Liar(Pen(hand), "ledger").begin({"tokens": 1}).step(4_000, 90_000).end())


@meets("promise:21", keys=Keys.BOTH, words=r"lists delete_page \(destructive\), and its spec row grants no such permission")
def a_session_is_opened_with_a_tool_of_a_permission_that_was_not_promised(hand: Hand) -> None:
    publish(gamma(hand).begin(granted=ToolGrant(("read", "write"))))


@meets("promise:21", "promise:21", keys=Keys.BOTH, words="lists write_file, which is none of the tools that its spec row names")
def a_session_is_opened_with_tools_that_the_promise_does_not_name(hand: Hand) -> None:
    publish(gamma(hand).begin(granted=ToolGrant(("read", "write", "destructive"), ("read_file",))))


# What may follow.


@meets("breach:25", keys=Keys.BOTH, words="intent after the breach in row 24")
def a_loop_goes_on_after_a_breach(hand: Hand) -> None:
    loop = gamma(hand).begin().step()
    loop.breach()
    publish(loop.ask())


@meets("breach:23", keys=Keys.BOTH, words="resume after the breach in row 22")
def a_breached_session_is_resumed(hand: Hand) -> None:
    loop = gamma(hand)
    loop.begin().breach()
    publish(loop.resume())


@meets("closed:25", keys=Keys.BOTH, words="intent after row 24 suspended the session, and before it resumed")
def a_suspended_session_goes_on_before_it_resumes(hand: Hand) -> None:
    publish(gamma(hand).begin().step().end("suspended").ask())


@meets("closed:20", "release:21", keys=Keys.BOTH, words="row 20 came after the session's close and voids it")
def a_closed_session_goes_on_and_is_released_again(hand: Hand) -> None:
    hand.rows.append(hand.seal(hand.body(11) | {"n": 14, "prev": hand.leaf(14)}))
    hand.rows.append(hand.seal(hand.body(14) | {"n": 15, "prev": hand.leaf(20)}))
    hand.write()


# Tools.


@meets("tool:24", keys=Keys.BOTH, words="shell ran, and the open row does not list it")
def a_tool_runs_that_was_never_listed(hand: Hand) -> None:
    publish(gamma(hand).begin().step().act("shell", "read"))


@meets("tool:24", "call:24", "approval:24", keys=Keys.BOTH,
       words="delete_page is recorded as read, and the open row lists it as destructive")
def a_destructive_tool_is_recorded_as_one_that_reads(hand: Hand) -> None:
    publish(gamma(hand).begin().step().act("delete_page", "read"))


@meets("call:24", keys=Keys.BOTH, words=r"write_file \(write\) ran without a call row before it")
def a_tool_writes_without_having_said_so_before(hand: Hand) -> None:
    publish(gamma(hand).begin().step().act())


@meets("call:25", keys=Keys.BOTH, words=r"write_file \(write\) ran in a dry run")
def a_tool_writes_in_a_session_that_was_opened_as_a_dry_run(hand: Hand) -> None:
    publish(gamma(hand).begin(software=marked("safeloop 1")).step().plan().act())


@meets("call:26", keys=Keys.BOTH, words="ran without a call row before it")
def one_call_row_is_used_for_two_runs(hand: Hand) -> None:
    publish(gamma(hand).begin().step().plan().act().act())


@meets("call:25", keys=Keys.BOTH, words="write_file ran with another arguments than its call row states")
def a_tool_runs_with_other_arguments_than_were_announced(hand: Hand) -> None:
    loop = gamma(hand).begin().step().plan()
    publish(loop.act(arguments=loop.book.content(b'{"path":"/"}', "application/json").commitment))


# Approvals.


def deleting(hand: Hand) -> Loop:
    """Begin a session whose first tool call, row 24, would delete something."""
    pin_approver(hand)
    return gamma(hand).begin().step().plan(*DELETE)


@meets("approval:25", keys=Keys.BOTH, words="delete_page ran without an approval")
def a_destructive_call_runs_without_an_approval(hand: Hand) -> None:
    publish(deleting(hand).act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="delete_page ran though row 25 says refused")
def a_destructive_call_runs_though_it_was_refused(hand: Hand) -> None:
    publish(deleting(hand).approve("refused", by=APPROVER).act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="after the approval in row 25 had expired")
def a_destructive_call_runs_on_an_approval_that_has_expired(hand: Hand) -> None:
    publish(deleting(hand).approve(by=APPROVER, until_s=-60).act(*DELETE))


@meets("approval:28", keys=Keys.BOTH, words="delete_page ran without an approval")
def an_approval_is_used_twice(hand: Hand) -> None:
    publish(deleting(hand).approve(by=APPROVER).act(*DELETE).plan(*DELETE).act(*DELETE))


@meets("approval:30", keys=Keys.BOTH, words="the approval in row 26, which a run before may have used: each is for one")
def an_approval_is_copied_for_a_second_run_of_its_call(hand: Hand) -> None:
    loop = deleting(hand).end("suspended").approve(by=APPROVER)
    granted = loop.last.data
    loop.resume().row("approval", granted)
    publish(loop.resume().act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="delete_page ran before the approval in row 25 was recorded")
def a_clock_is_set_back_to_revive_an_approval_that_has_expired(hand: Hand) -> None:
    loop = deleting(hand).approve(by=APPROVER, until_s=8)
    loop.paper.now -= timedelta(hours=1)
    publish(loop.act(*DELETE))


@meets("approval:27", keys=Keys.BOTH, words="that counts for nothing: its statement is not about what its row states")
def an_approval_of_one_call_is_moved_to_another(hand: Hand) -> None:
    loop = deleting(hand)
    other = loop.last.leaf
    publish(loop.plan(*DELETE, name="c2").approve(by=APPROVER, signed={"call": other}).act(*DELETE, name="c2"))


@meets("approval:26", keys=Keys.BOTH, words="that counts for nothing: its statement is not about what its row states")
def an_approval_of_another_ledger_is_brought_in(hand: Hand) -> None:
    publish(deleting(hand).approve(by=APPROVER, signed={"ledger": "example.org/log"}).act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="is not pinned as a key of bob@example.org for approvals")
def an_approval_is_signed_by_a_stranger_in_the_reviewers_name(hand: Hand) -> None:
    publish(deleting(hand).approve(by=APPROVER, key="eve").act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="does not verify")
def an_approval_is_forged(hand: Hand) -> None:
    loop = deleting(hand)
    publish(approve(loop, PEOPLE[APPROVER], forged_by=Ed25519PrivateKey.generate()).act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words="is the operator's own key")
def the_operator_approves_with_the_writer_key(hand: Hand) -> None:
    """Even where the auditor has the operator's key among the reviewers."""
    own = operator_key(hand)
    hand.pin(reviewers=f'{APPROVER} namespaces="{APPROVAL_NAMESPACE}" {public(own)}')
    publish(approve(deleting(hand), own).act(*DELETE))


@meets("approval:26", keys=Keys.BOTH, words=f"signed for namespace b'{REVIEW_NAMESPACE}', not for 'safeloop-approval'")
def an_attestations_signature_is_offered_as_an_approvals(hand: Hand) -> None:
    publish(deleting(hand).approve(by=APPROVER, namespace=REVIEW_NAMESPACE).act(*DELETE))


def approve(loop: Loop, key: Ed25519PrivateKey, *, forged_by: Ed25519PrivateKey | None = None) -> Loop:
    """Grant the last call in the approver's name, by whatever key, or by one whose signature somebody else has made."""
    expires = timestamp(loop.paper.now + timedelta(seconds=60))
    facts = {"by": APPROVER, "call": loop.last.leaf, "decision": "granted", "expires_at": expires}
    words = encode(facts | {"ledger": loop.paper.origin, "session": loop.session})
    signature = sshsig.sign(key, APPROVAL_NAMESPACE, words)
    if forged_by is not None:
        other = sshsig.parse_armor(sshsig.sign(forged_by, APPROVAL_NAMESPACE, words))
        signature = sshsig.render_armor(sshsig.parse_armor(signature)[:-64] + other[-64:])
    loop.row("approval", facts | {"statement": words.decode(), "signature": signature})
    return loop


# How it ended.


@meets("outcome:23", keys=Keys.BOTH, words="states completed, and row 22 is a breach")
def a_breached_session_is_called_completed(hand: Hand) -> None:
    loop = gamma(hand)
    loop.begin().breach()
    publish(loop.end())


@meets("outcome:23", keys=Keys.BOTH, words="states completed, and the check in row 22 failed")
def a_session_is_called_completed_after_a_check_that_failed(hand: Hand) -> None:
    loop = gamma(hand)
    loop.begin().check("report.md", passed=False)
    publish(loop.end())


@meets("outcome:22", keys=Keys.BOTH, words="states completed, and no check passed for it names the title")
def a_session_is_called_completed_and_a_criterion_was_never_checked(hand: Hand) -> None:
    publish(gamma(hand).begin(criteria=("it names the title",)).end())


# Releases.


@meets("release:21", keys=Keys.BOTH, words="releases session gamma, which no loop has opened", gaps=("ungoverned",))
def a_session_is_released_that_nobody_opened(hand: Hand) -> None:
    loop = gamma(hand)
    loop.spec()
    publish(loop.release(files=loop.nothing))


@meets("release:24", keys=Keys.BOTH, words="releases session gamma, which is not closed")
def a_session_is_released_before_it_is_closed(hand: Hand) -> None:
    loop = gamma(hand)
    publish(loop.begin().step().release(files=loop.nothing))


@meets("release:20", keys=Keys.BOTH, words="its files are not those of the session's close row")
def other_files_are_released_than_the_session_made(hand: Hand) -> None:
    other = hand.body(19)["data"]
    release_again(hand, files=other["files"], file_count=other["file_count"])


@meets("release:20", keys=Keys.BOTH, words="it states no release policy")
def a_release_asks_for_no_accept_at_all(hand: Hand) -> None:
    release_again(hand, attestations=[], policy=ReleasePolicy().canonical.replace('"accepts":1', '"accepts":0'))


@meets("release:20", keys=Keys.BOTH, words="it states no release policy")
def a_depth_bomb_takes_the_place_of_a_releases_policy(hand: Hand) -> None:
    release_again(hand, policy="[" * 30_000)


def release_again(hand: Hand, **changes: Any) -> None:
    """Append a second release of alpha, with the true one's data but for these."""
    hand.rows.append(hand.seal(hand.body(14) | {"n": 14, "prev": hand.leaf(14), "data": hand.body(14)["data"] | changes}))
    hand.write()


@meets("release:20", "release:20", keys=Keys.BOTH, words="ended failed|failed")
def what_failed_is_released(hand: Hand) -> None:
    tell(hand, 19, outcome="failed")
    told = hand.body(14)["data"] | {key: hand.body(19)["data"][key] for key in ("files", "file_count")}
    hand.rows.append(hand.appended(kind="release", data=told | {"attestations": []}))
    hand.write()
