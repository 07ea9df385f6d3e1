from __future__ import annotations

import re
from pathlib import Path

import pytest

from metabench.leaderboard import Leaderboard
from metabench.leaderboard.board import boards
from metabench.leaderboard.entries import Column, Entry, file_name
from metabench.leaderboard.maintainer_files import Overlap
from metabench.leaderboard.markdown_page import board_markdown
from metabench.leaderboard.published import Published, read_published
from metabench.records.record import Record, build_record
from tests.leaderboard.samples import FLOOR, markdown_of
from tests.leaderboard.test_published import HEADER
from tests.record_factory import changed, make_record, plain_of

CLAIMS = (
    "protonet,conv4,omniglot,5,1,,98.8,,A & B 2017 Table 1,paper\n"
    "protonet,conv4,omniglot,5,1,,98.2,0.1,someone's README,replication\n"
    "protonet,conv4,omniglot,20,1,,96.0,,A & B 2017 Table 1,paper\n"
)


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    (tmp_path / "published.csv").write_text(HEADER + CLAIMS)
    return Leaderboard(tmp_path)


def _table(text: str, title: str = "## test split") -> list[dict[str, str]]:
    """The rows of the first table below a heading, by column."""
    lines = re.search(r"(^\|.*\n)+", text.split(title, 1)[1], re.MULTILINE).group().splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_a_single_episode_has_no_interval_and_no_rank() -> None:
    text = markdown_of(
        make_record((8,), algorithm__name="once", episodes_digest="ab" * 32),
        make_record((67, 68) * 20, algorithm__name="high"),
        make_record((37, 38) * 20, algorithm__name="low"),
    )
    rows = _table(text)
    assert [row["Algorithm"] for row in rows] == ["high", "low", "once"]
    assert [re.search(r"rank (\S+),", row["5-way 1-shot"]).group(1) for row in rows] == ["1", "2", "-"]
    assert rows[2]["5-way 1-shot"].startswith("10.67<br>rank -,")


def test_columns_say_what_tells_them_apart() -> None:
    few = {"protocol__params__query": 1}
    text = markdown_of(
        make_record(),
        make_record((74, 75, 74, 75), **few),
        make_record((75, 75, 74, 75), protocol__params__shot=5),
        make_record((15, 16, 14, 15), **FLOOR),
    )
    first, floor = _table(text)
    assert [name for name in first if "way" in name] == [
        "5-way 1-shot, query=1", "5-way 1-shot, query=15", "5-way 5-shot"
    ]  # fmt: skip
    assert "99.33" in first["5-way 1-shot, query=1"] and floor["5-way 1-shot, query=1"] == ""
    assert all("rank 1" in first[name] for name in list(first)[3:6]) and "rank 2" in floor["5-way 1-shot, query=15"]
    assert first["Protocol"].count("query=") == 2 and floor["Protocol"].count("query=") == 1
    assert "No floor row is measured for: 5-way 1-shot, query=1; 5-way 5-shot." in text
    claim = Published("protonet", "conv4", "omniglot", Column("", 5, 1), 98.8, 0.05, "98.8", "A", "paper")
    (row,) = _table(markdown_of(make_record(), make_record(**few), claims=(claim,)))
    assert all("paper 98.8" in row[f"5-way 1-shot, query={query}"] for query in (1, 15))


def test_a_checkpoint_says_where_it_was_trained() -> None:
    weights = "ef" * 32
    trained = changed(make_record(), training={"weights_sha256": weights})
    taken = make_record(algorithm__params={"bn": "support"}, training={"checkpoint": weights})
    elsewhere = make_record(dataset__name="glyphs", training={"checkpoint": weights})
    entries = [Entry(record, file_name(record)) for record in (trained, taken, elsewhere)]
    glyphs, omniglot = boards(entries, (), {}, ())
    how = "seed 7, 60-way, 100 episodes"
    assert {row["Training"] for row in _table(board_markdown(omniglot))} == {how, f"checkpoint {weights[:12]}, {how}"}
    (row,) = _table(board_markdown(glyphs))
    assert row["Training"] == f"checkpoint {weights[:12]}, omniglot -&gt; glyphs, {how}"
    (row,) = _table(markdown_of(taken))
    assert row["Training"] == f"checkpoint {weights[:12]}"


def test_trained_weights_that_came_from_a_file_are_in_the_row_of_their_training() -> None:
    records = []
    for seed in range(3):
        weights, few = {"weights_sha256": f"{seed:064}"}, {"protocol__params__query": 1}
        records.append(changed(make_record((75, 74, 74 - seed, 75), training__seed=seed), training=weights))
        counts = (5, 4, 5 - seed, 5)
        records.append(make_record(counts, training={"checkpoint": weights["weights_sha256"]}, **few))
    (row,) = _table(markdown_of(*records))
    assert row["Training"] == "seeds 0, 1, 2, 60-way, 100 episodes"
    assert all("with seeds ± " in row[f"5-way 1-shot, query={query}"] for query in (1, 15))
    assert len(_table(markdown_of(*records, make_record(training={"checkpoint": f"{0:064}"})))) == 4, (
        "once more in one cell"
    )


def test_a_claim_for_a_number_of_queries_stands_beside_no_other(tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text(f"{HEADER}protonet,conv4,omniglot,5,1,1,98.8,,A,paper\n")
    text = markdown_of(
        make_record(),
        make_record(protocol__params__query=1),
        claims=tuple(read_published(tmp_path / "published.csv")),
    )
    (row,), (claimed,) = _table(text), _table(text, "## Published values")
    assert "paper 98.8" in row["5-way 1-shot, query=1"]
    assert "paper" not in row["5-way 1-shot, query=15"]
    assert claimed["5-way 1-shot, query=1"] == "98.8"


def test_the_page_of_a_small_leaderboard(board: Leaderboard) -> None:
    records = [
        make_record(),
        make_record((75, 75, 75, 74), protocol__params__shot=5, training__shot=5),
        make_record((15, 16, 14, 15), **FLOOR),
    ]
    board.add(records)
    board.build()
    one, five, floor = (record.key for record in records)
    text = (board.folder / "omniglot.md").read_text(encoding="utf-8")
    assert text[text.index("## test split") :] == (
        "## test split, version 1, digest abababababab\n"
        "\n"
        "| Algorithm | Backbone | Setting | 5-way 1-shot | 5-way 5-shot | Seeds | Episodes | Protocol | Training |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| protonet | conv4<br>channels=64 | inductive "
        f"| 98.67 ± 3.00<br>rank 1, [{one[:8]}](records/protonet-omniglot-5w1s-{one[:12]}.json)<br>few episodes"
        "<br>paper 98.8[^1], -0.13 "
        f"| 99.67 ± 1.06<br>rank 1, [{five[:8]}](records/protonet-omniglot-5w5s-{five[:12]}.json)<br>few episodes "
        "| 1 (-) | 4, seed 0 | fixed-way<br>query=15 | seed 7, 60-way, 100 episodes |\n"
        "| *chance*<br>floor | pixels | inductive "
        f"| 20.00 ± 1.73<br>rank 2, [{floor[:8]}](records/chance-omniglot-5w1s-{floor[:12]}.json)<br>few episodes "
        "|  | - | 4, seed 0 | fixed-way<br>query=15 | none |\n"
        "\n"
        "No floor row is measured for: 5-way 5-shot.\n"
        "\n"
        "## Published values\n"
        "\n"
        "| Algorithm | Backbone | Kind | 5-way 1-shot | 20-way 1-shot |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| protonet | conv4 | paper[^1] | 98.8 | 96.0 |\n"
        "| protonet | conv4 | replication[^2] | 98.2 ± 0.1 |  |\n"
        "\n"
        "[^1]: as given in A &amp; B 2017 Table 1\n"
        "[^2]: as given in someone's README\n"
    )


def test_a_published_value_out_of_reach_is_marked(board: Leaderboard) -> None:
    board.add([make_record((75, 74, 73, 75) * 500)])
    board.build()
    (row,) = _table((board.folder / "omniglot.md").read_text(encoding="utf-8"))
    assert row["5-way 1-shot"].endswith("paper 98.8[^1], +0.20 ▲")


def test_the_page_explains_what_it_shows_and_nothing_else() -> None:
    plain = markdown_of(make_record())
    assert "one more than the number of rows that are significantly better" in " ".join(plain.split())
    for word in ("open ±", "Seeds is", "Transductive", "‡", "▲", "Floor rows"):
        assert word not in plain
    assert "Transductive rows" in " ".join(markdown_of(make_record(algorithm__setting="transductive")).split())
    assert "‡ marks" in " ".join(markdown_of(make_record(backbone__trained_on="x")).split())
    assert "Floor rows" in " ".join(markdown_of(make_record(**FLOOR)).split())


def test_pixels_that_are_not_the_official_ones_stand_beside_the_digest() -> None:
    told = {"omniglot": "squeezed <b>", "mini-imagenet": "stretched"}
    record = changed(make_record(), provenance={"metabench": "0.1.0", "pixels": told})
    assert "digest abababababab; pixels: squeezed &lt;b&gt;\n" in markdown_of(
        record
    ) and "stretched" not in markdown_of(record)
    assert "pixels" not in markdown_of(make_record())


def test_copies_are_marked_beside_every_row_of_the_test_data_and_explained() -> None:
    trained = changed(make_record(), provenance={"copies": {"within_class": 3, "between_splits": 2}})
    floor = make_record((15, 16, 14, 15), **FLOOR)  # its record does not say: the test data are the same
    text = markdown_of(trained, floor)
    assert "digest abababababab; copies: 3 within a class\n" in text
    rows = _table(text)
    assert rows[0]["Algorithm"].startswith("protonet †") and "*chance †*" in rows[1]["Algorithm"]
    assert "† 2 in training too" in rows[0]["5-way 1-shot"] and "†" not in rows[1]["5-way 1-shot"]
    assert "† marks test data that hold an item more than once" in " ".join(text.split())
    alone = markdown_of(changed(make_record(), provenance={"copies": {"between_splits": 2}}), floor)
    rows = _table(alone)
    assert "copies:" not in alone and "†" in rows[0]["Algorithm"] and "†" not in rows[1]["Algorithm"]
    assert "†" not in markdown_of(make_record(), floor) and "copies" not in markdown_of(make_record(), floor)


def test_base_classes_beside_the_others_are_a_table_of_their_own_that_says_its_parts() -> None:
    metric = {"unit": "%", "higher_is_better": True, "digits": 2}
    values = {"novel": [30, 20, 40, 30.0], "base": [60, 60, 70, 60.0]}

    def joint(seed: int) -> Record:
        parts = [
            {"metric": {"name": name, **metric}, "values": [value + seed for value in row]}
            for name, row in values.items()
        ]
        record = make_record(dataset__beside={"train": "ef" * 32}, protocol__name="generalised", training__seed=seed)
        plain = plain_of(record)
        scores = {**plain["scores"], "values": [40, 30, 50.9, 40.0], "metric": {"name": "harmonic", **metric}}
        del scores["correct"]
        keep = {name: plain[name] for name in ("cost", "provenance")}
        return build_record(plain["inputs"], "ok", scores={**scores, "parts": parts}, **keep)

    text = markdown_of(make_record(), joint(0), joint(1))
    first, second = re.findall("^## (.*)$", text, flags=re.MULTILINE)
    assert "beside" not in first and second.startswith("test split beside the classes of train, version 1")
    assert "novel 30.50, base 63.00" in text


def test_seeds_and_their_spread_have_a_column() -> None:
    (row,) = _table(
        markdown_of(
            make_record((74, 75) * 50, training__seed=0),
            make_record((72, 73) * 50, training__seed=1),
            make_record((75, 74) * 50, training__seed=0, protocol__params__shot=5, training__shot=5),
        )
    )
    assert row["Seeds"] == "2 (1.89/-)"  # means 99.33 and 96.67: sd sqrt(2) * 1.333
    assert row["5-way 1-shot"].startswith("98.00 ± 0.13<br>rank 1, [")
    assert re.search(r"<br>with seeds ± 1[67]\.\d\d$", row["5-way 1-shot"])  # t of one degree of freedom
    assert row["5-way 1-shot"].count("](records/") == 2
    assert row["Training"].startswith("seeds 0, 1, 60-way")


def test_statistics_over_queries_are_transductive_whatever_the_spec_says() -> None:
    rows = _table(
        markdown_of(
            make_record(algorithm__params={"bn": "transductive"}),
            make_record((70, 71, 72, 70), algorithm__params={"bn": "running"}),
        )
    )
    assert [row["Setting"] for row in rows] == [
        "transductive<br>batch statistics: transductive",
        "inductive<br>batch statistics: running",
    ]


@pytest.mark.parametrize(
    ("trained_on", "shown"),
    [
        ("ImageNet-1k", "‡ saw the test classes"),
        ("places, imagenet-1k", "‡ saw the test classes"),
        ("places", "no overlap with the test classes"),
        ("a crawl", "? overlap with the test classes unchecked"),
        ("places+a crawl", "? overlap with the test classes unchecked"),
    ],
)
def test_pre_training_is_marked(trained_on: str, shown: str) -> None:
    overlaps = (
        Overlap("imagenet-1k", "omniglot", "classes", "for the test"),
        Overlap("places", "omniglot", "none", "for the test"),
        Overlap("a crawl", "other", "images", "of another dataset"),
    )
    (row,) = _table(markdown_of(make_record(backbone__trained_on=trained_on), overlaps=overlaps))
    assert row["Backbone"] == f"conv4<br>channels=64<br>pre-trained on {trained_on}<br>{shown}"
