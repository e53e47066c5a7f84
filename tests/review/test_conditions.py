"""Every key of a criterion is shown to the reviewer: what is judged and not shown could promise anything."""

from safeloop.review.framing.results import conditions
from safeloop.spec import Criterion


def test_a_command_is_shown_word_by_word_so_that_no_two_look_alike():
    one = conditions(Criterion("c", kind="command", command=("sh", "-c", "exit 0")))
    two = conditions(Criterion("c", kind="command", command=("sh", "-c", "exit", "0")))
    assert one == ('exits with 0: sh "-c" "exit 0"',)
    assert two == ('exits with 0: sh "-c" exit 0',)


def test_a_schema_is_shown_beside_the_file_and_its_other_conditions():
    criterion = Criterion("c", "f.json", kind="json_schema", schema='{"type": "array"}', max_chars=9, retries=0)
    assert conditions(criterion) == (
        'file f.json', 'fits the JSON Schema "{\\"type\\": \\"array\\"}"', "at most 9 characters", "retries 0",
    )  # fmt: skip
