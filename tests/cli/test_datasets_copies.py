"""``metabench datasets verify``: items that a dataset holds more than once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from metabench.data import image_digest
from metabench.registry.specs import KnownCopy
from tests.cli.squares import SQUARES, Squares, squares


class Repeating(Squares):
    """Two images of val are also in train, and train has one twice in a class and one in both classes."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "val":
            images[:2] = squares("train")[:2]
        if split == "train":
            images[5] = images[4]
            images[3] = images[2]
        return replace(made, images=images)


def test_verify_lists_images_that_are_there_more_than_once(datasets_command):
    digest = image_digest(squares("train")[0])
    spec = replace(SQUARES, target=f"{__name__}:Repeating", digests={}, shared_images=(digest,))
    assert datasets_command("download", "squares", specs=(spec,))[0] == 0
    code, out, err = datasets_command("verify", "squares", "--json", specs=(spec,))
    found = {(check["split"], check["status"]): check for check in json.loads(out)}
    assert code == 1 and len(found) == 6
    assert err == (
        "error: squares train: images copied within a class: 1. "
        "Scores are too high where support and query are the same item; --json lists all of them\n"
    )
    repeated, conflicting, shared = (
        found[place] for place in (("train", "repeated"), ("train", "conflicting"), ("train+val", "shared"))
    )
    assert repeated["images"] == 1 and repeated["failed"]
    assert repeated["copies"] == [
        [{"split": "train", "class_name": "train b", "index": index, "file": ""} for index in (1, 2)]
    ]
    assert conflicting["failed"] and conflicting["detail"] == "images copied into another class: 1"
    assert shared["images"] == 2 and "2 of them not declared" in shared["detail"]  # which copy it is, is not known
    out = datasets_command("verify", "squares", specs=(spec,))[1]
    assert "\nsquares train: images copied within a class: 1\n  train b[2] = train b[1]\n" in out
    assert "\n  train b[0] = train a[2]\n" in out and "\n  val val a[1] = train train a[1]\n" in out


def test_verify_takes_copies_of_published_data_as_they_are(datasets_command):
    digest, other = (image_digest(image) for image in squares("train")[:2])
    spec = replace(SQUARES, target=f"{__name__}:Repeating", digests={}, shared_images=(digest,))
    datasets_command("download", "squares", specs=(spec,))
    checks = json.loads(datasets_command("verify", "--json", specs=(spec,))[1])
    published = replace(spec, digests={check["split"]: check["digest"] for check in checks if check["digest"]})
    code, out, err = datasets_command("verify", "squares", "--json", specs=(published,))
    failed = [check for check in json.loads(out) if check["failed"]]
    assert code == 1 and [check["status"] for check in failed] == ["shared"]
    assert "1 of them not declared" in failed[0]["detail"] and "train+val" in err
    declared = replace(published, shared_images=(digest, other))
    code, out, err = datasets_command("verify", "squares", specs=(declared,))
    assert (code, err) == (0, "") and "all of them declared" in out and "repeated" in out
    copies = {"squeezed": KnownCopy(digests=published.digests, shared_images=(digest, other))}
    assert datasets_command("verify", "squares", specs=(replace(spec, copies=copies),))[0] == 0


class TwoLabels(Squares):
    """Train has one image in both classes."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "train":
            images[3] = images[2]
        return replace(made, images=images)


class TwoSplits(Squares):
    """One image of val is also in train."""

    def load(self, split, context):
        made = super().load(split, context)
        images = np.array(made.images)
        if split == "val":
            images[0] = squares("train")[0]
        return replace(made, images=images)


@pytest.mark.parametrize(
    ("target", "end"),
    [
        ("TwoLabels", "An item with several labels cannot be right with all of them; --json lists all of them\n"),
        (
            "TwoSplits",
            "Scores are too high where items are measured that were learned from; --json lists all of them\n",
        ),
    ],
)
def test_verify_says_of_each_kind_of_copies_how_it_moves_scores(datasets_command, target, end):
    spec = replace(SQUARES, target=f"{__name__}:{target}", digests={})
    assert datasets_command("download", "squares", specs=(spec,))[0] == 0
    code, _, err = datasets_command("verify", "squares", specs=(spec,))
    assert code == 1 and err.endswith(end)
