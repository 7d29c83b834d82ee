"""Each check speaks where it should, and is silent where it should not."""

from unlearning.text.anchor_checks import Finding, check_dictionary, clean_up, count_occurrences
from unlearning.text.anchors import Anchor, Dictionary


def dictionary(*rows: tuple[str, str]) -> Dictionary:
    return Dictionary(tuple(Anchor(term, tuple(cell.split(" | ")) if cell else ()) for term, cell in rows))


def only(findings: list[Finding]) -> tuple[int, str, str, str]:
    """The one finding there is, without its hint, which must not be empty."""
    (finding,) = findings
    assert finding.hint
    return finding.row, finding.field, finding.severity, finding.message


def test_a_good_dictionary_is_passed_in_silence() -> None:
    good = dictionary(
        ("Alice", "Clara | Emma"), ("Hatter", "Tailor"), ("Mad Hatter", "Crazy Tailor"), ("queen", "ruler")
    )
    assert check_dictionary(good, "Alice met a Hatter, a Mad Hatter and a Queen.") == []


def test_an_empty_term() -> None:
    assert only(check_dictionary(dictionary(("Alice", "Clara"), (" ", "Jon")))) == (
        2,
        "term",
        "error",
        "the term is empty.",
    )


def test_a_term_without_a_letter() -> None:
    row, field, severity, message = only(check_dictionary(dictionary(("—", "dash")), "A — B"))
    assert (row, field, severity) == (1, "term", "error")
    assert "'—' has no letter" in message


def test_an_unknown_kind() -> None:
    odd = Dictionary((Anchor("Ron", ("Tom",), kind="wizard"),))
    assert only(check_dictionary(odd)) == (1, "kind", "error", "unknown kind 'wizard'.")


def test_translations_that_are_missing_or_empty() -> None:
    missing = dictionary(("Alice", ""), ("Hatter", "Tailor |  | Tailor"))
    findings = check_dictionary(missing)
    assert [(finding.row, finding.severity) for finding in findings] == [(1, "error"), (2, "error"), (2, "warning")]
    assert [finding.message for finding in findings] == [
        "'Alice' has no translation.",
        "a translation of 'Hatter' is empty.",
        "'Hatter' has the translation 'Tailor' twice.",
    ]


def test_a_term_that_is_its_own_translation() -> None:
    assert "'Alice' is translated by itself" in only(check_dictionary(dictionary(("Alice", "ALICE"))))[3]


def test_a_duplicate_names_the_other_row() -> None:
    twice = dictionary(("White  Rabbit", "Grey Badger"), ("Ron", "Tom"), ("White Rabbit", "Brown Hare"))
    assert only(check_dictionary(twice)) == (
        3,
        "term",
        "error",
        "'White Rabbit' is an anchor already: 'White  Rabbit' (row 1).",
    )


def test_a_duplicate_but_for_capitals() -> None:
    row, field, severity, message = only(check_dictionary(dictionary(("Queen", "Duchess"), ("queen", "ruler"))))
    assert (row, field, severity) == (2, "term", "warning")
    assert "in capitals only" in message


def test_a_translation_that_is_an_anchor() -> None:
    row, field, severity, message = only(check_dictionary(dictionary(("Harry", "Ron"), ("Ron", "Tom"))))
    assert (row, field, severity) == (1, "translations", "error")
    assert "'Ron' is itself an anchor: 'Ron' (row 2)" in message


def test_a_translation_that_contains_an_anchor() -> None:
    row, _, severity, message = only(check_dictionary(dictionary(("Harry", "Jon Weasley"), ("Weasley", "Tanner"))))
    assert (row, severity) == (1, "warning")
    assert "contains the anchor 'Weasley' (row 2)" in message
    assert "contains the anchor 'Harry' (row 1)" in only(check_dictionary(dictionary(("Harry", "Harry Lime"))))[3]


def test_two_anchors_with_one_translation() -> None:
    row, _, severity, message = only(check_dictionary(dictionary(("Harry", "Jon | Sam"), ("Ron", "jon"))))
    assert (row, severity) == (2, "warning")
    assert "share 'jon'" in message


def test_a_term_within_a_longer_one_wants_a_translation_that_nests() -> None:
    row, field, severity, message = only(
        check_dictionary(dictionary(("Mad Hatter", "Crazy Cook"), ("Hatter", "Tailor")))
    )
    assert (row, field, severity) == (1, "translations", "warning")
    assert "contains the anchor 'Hatter' (row 2)" in message
    assert "'Alice' (row 2)" in only(check_dictionary(dictionary(("Alice's Cat", "Dora's Dog"), ("Alice", "Clara"))))[3]


def test_terms_that_run_together_in_the_text() -> None:
    overlapping = dictionary(("White Rabbit", "Grey Badger"), ("Rabbit Hole", "Deep Well"))
    assert check_dictionary(overlapping, "The White Rabbit left the Rabbit Hole.") == []
    findings = check_dictionary(overlapping, "The White\nRabbit Hole. The Rabbit Hole.")
    assert "overlaps 'Rabbit Hole' (row 2) in 'White Rabbit Hole'" in only(findings)[3]


PAPER = dictionary(
    ("Alice", "Clara"), ("Alice’s", "Clara's"), ("Cat", "Dog"), ("Cheshire", "Kent"), ("Cheshire Cat", "Kent Dog")
)


def test_the_two_rules_of_the_paper_are_warnings() -> None:
    rules = [finding for finding in check_dictionary(PAPER) if "clean-up drops" in finding.message]
    assert [(finding.row, finding.severity) for finding in rules] == [(2, "warning"), (5, "warning")]


def test_clean_up_drops_by_the_two_rules_and_says_so() -> None:
    cleaned, said = clean_up(PAPER)
    assert [anchor.term for anchor in cleaned.anchors] == ["Alice", "Cat", "Cheshire"]
    assert said == [
        "Dropped 'Alice’s' (row 2): 'Alice' (row 1) covers it.",
        "Dropped 'Cheshire Cat' (row 5): each of its words is an anchor: 'Cheshire' (row 4), 'Cat' (row 3).",
    ]
    assert clean_up(cleaned) == (cleaned, [])


def test_clean_up_keeps_an_expression_with_a_word_that_is_no_anchor() -> None:
    kept = dictionary(
        ("Knave of Hearts", "Rogue of Spades"), ("Knave", "Rogue"), ("Hearts", "Spades"), ("Tim's", "Jim's")
    )
    assert clean_up(kept) == (kept, [])


def test_anchors_switched_off_are_no_ones_rival() -> None:
    off = Dictionary(
        (Anchor("Alice", ("Clara",), enabled=False), *dictionary(("Alice", "Emma"), ("Alice's", "Emma's")).anchors)
    )
    assert {finding.row for finding in check_dictionary(off, "Alice, Alice's")} == {3}
    off = Dictionary((Anchor("", (), enabled=False),))
    assert [finding.row for finding in check_dictionary(off, "text")] == [1, 1]


def test_terms_that_the_text_lacks() -> None:
    findings = check_dictionary(dictionary(("Ron", "Tom"), ("Hatter", "Tailor"), ("Zoe", "Ann")), "Ronald, the hatter")
    assert [finding.message for finding in findings] == [
        "'Ron' stands in the text only within longer anchors or words, or in other capitals.",
        "'Hatter' stands in the text only within longer anchors or words, or in other capitals.",
        "'Zoe' never occurs in the text.",
    ]
    assert {finding.severity for finding in findings} == {"warning"}


def test_an_article_that_will_not_fit() -> None:
    muggle = dictionary(("Muggle", "ordinary person | commoner"))
    assert check_dictionary(muggle, "The Muggle met Muggles. Vitamin-rich Muggle. Banana Muggle.") == []
    row, field, severity, message = only(check_dictionary(muggle, "A Muggle saw a\nMuggle."))
    assert (row, field, severity) == (1, "translations", "warning")
    assert message == "the text has 'A Muggle' (2 times), but 'ordinary person' wants 'an' before it."


def test_counts() -> None:
    counted = Dictionary(
        (*dictionary(("Hatter", "a"), ("Mad Hatter", "b"), ("Zoe", "c")).anchors, Anchor("mad", ("d",), enabled=False))
    )
    assert count_occurrences("Mad Hatter, HATTERS, mad Hatter's", counted) == [2, 1, 0, 0]


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding(14, "term", "error", "'Ron' is an anchor already: 'Ron' (row 2).", "Keep one row.")
    assert str(finding) == "Anchor row 14: 'Ron' is an anchor already: 'Ron' (row 2). Keep one row."
