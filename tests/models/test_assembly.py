from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from metabench.errors import MetabenchError, MissingError, UsageError
from metabench.learners.feature_learner import FeatureLearner
from metabench.models import checkpoints
from metabench.models.assembly import Model, build_model
from metabench.models.checkpoints import load_tensors, load_weights, save_tensors
from metabench.models.interfaces import FeatureHead
from metabench.models.output_checks import OutputError
from metabench_algorithms.metric.matching_net import MatchingNet
from metabench_algorithms.metric.protonet import ProtoNet
from metabench_backbones.conv4 import Conv4
from metabench_backbones.pixels import Pixels

SHAPE = (1, 16, 16)


def build(seed: int = 0, channels: int = 4, head: type[FeatureHead] = MatchingNet, **params: object) -> Model:
    model = build_model(Conv4, {"channels": channels}, head, params, SHAPE, seed)
    assert isinstance(model, Model)
    return model


def same(a: Model, b: Model) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build(7, fce=True)
    torch.manual_seed(2)
    torch.rand(5)
    assert same(first, build(7, fce=True))
    assert not same(first, build(8, fce=True))


def test_the_global_random_state_is_left_as_it_was() -> None:
    before = torch.random.get_rng_state()
    build(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(UsageError):
        build_model(Conv4, {}, ProtoNet, {}, (1, 8, 8), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_parameters_reach_backbone_and_head() -> None:
    model = build(channels=6, temperature=3.0)
    assert model.backbone.feature_dim == 6
    assert model.state_dict()["head.log_scale"].exp().item() == pytest.approx(3.0)


def test_images_too_small_for_the_backbone_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^Conv4 has no features left of items of shape \(1, 8, 8\)$"):
        build_model(Conv4, {}, ProtoNet, {}, (1, 8, 8), 0)


def test_maps_that_do_not_make_up_the_features_are_refused() -> None:
    class Odd(Conv4):
        def __init__(self, image_shape: tuple[int, int, int]) -> None:
            super().__init__(image_shape)
            self.map_shape = 64, 2, 1

    with pytest.raises(OutputError, match=r"^Odd has maps \(64, 2, 1\) and 64 features$"):
        build_model(Odd, {}, ProtoNet, {}, SHAPE, 0)


def test_trainable_is_whether_there_are_weights_to_learn() -> None:
    assert FeatureLearner(build(head=ProtoNet)).trainable()
    fixed = build_model(Pixels, {}, ProtoNet, {}, SHAPE, 0)
    assert isinstance(fixed, Model)
    assert not FeatureLearner(fixed).trainable()
    frozen = build()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    assert not FeatureLearner(frozen).trainable()


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path, meta = tmp_path / "deep" / "best.safetensors", {"made_for": "x", "episode": 5, "loss": 0.25}
    saved, other = build(1), build(2)
    save_tensors(path, saved.state_dict(), meta)
    assert load_weights(other, path) == meta
    assert same(saved, other)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


class Studious(ProtoNet):
    """Keeps the features that it studies, and how many classes they were of."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__(feature_dim)
        self.register_buffer("kept", torch.zeros(1, feature_dim))

    def study(self, features: Tensor, classes: Tensor) -> None:
        self.kept = features.clone()
        self.register_buffer("counts", classes.bincount())


def test_buffers_that_were_studied_are_loaded_whatever_their_size(tmp_path: Path) -> None:
    path = tmp_path / "studied.safetensors"
    saved, fresh, other = (build(head=Studious) for _ in range(3))
    saved.head.study(torch.randn(7, 4), torch.tensor([0, 0, 1, 2, 2, 2, 2]))
    other.head.study(torch.randn(3, 4), torch.tensor([0, 1, 1]))
    save_tensors(path, saved.state_dict(), {})
    for model in (fresh, other):
        load_weights(model, path)
        assert same(saved, model)
    assert fresh.state_dict()["head.counts"].tolist() == [2, 1, 4]
    other.load_state_dict(build(head=Studious).state_dict() | {"head.counts": torch.tensor([5])})
    assert other.state_dict()["head.counts"].tolist() == [5]


def test_weights_of_another_head_are_not_taken_for_studied_buffers(tmp_path: Path) -> None:
    wider = build(head=Studious, channels=6)
    assert "backbone.blocks.0.conv.bias is (6,) there and (4,) here" in refusal(tmp_path, wider, build(head=Studious))
    assert "head.kept is absent there and (1, 4) here" in refusal(tmp_path, build(head=ProtoNet), build(head=Studious))
    assert "head.kept is (1, 4) there and absent here" in refusal(tmp_path, build(head=Studious), build(head=ProtoNet))


def test_meta_data_is_optional_in_a_foreign_file(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "f.safetensors")
    tensors, meta = load_tensors(tmp_path / "f.safetensors")
    assert meta == {} and tensors["a"].tolist() == [1, 1]


def refusal(tmp_path: Path, saved: Model, wanted: Model, **meta: str) -> str:
    path = tmp_path / "c.safetensors"
    save_tensors(path, saved.state_dict(), meta)
    before = {name: tensor.clone() for name, tensor in wanted.state_dict().items()}
    with pytest.raises(UsageError) as caught:
        load_weights(wanted, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in wanted.state_dict().items())
    message = str(caught.value)
    assert message.startswith(f"checkpoint {path}") and "\n" not in message
    assert message.endswith("; check --ways, --backbone and --set")
    return message


def test_another_width_is_refused_by_name(tmp_path: Path) -> None:
    message = refusal(tmp_path, build(channels=4), build(channels=6), made_for="protonet on glyphs")
    assert " (made for protonet on glyphs) does not fit this architecture: " in message
    assert "backbone.blocks.0.conv.bias is (4,) there and (6,) here" in message


def test_a_tensor_missing_on_either_side_is_refused_by_name(tmp_path: Path) -> None:
    """The first tensor that differs is a scalar, whose shape is the empty tuple."""
    assert "head.log_scale is absent there and () here" in refusal(tmp_path, build(head=ProtoNet), build())
    assert "head.log_scale is () there and absent here" in refusal(tmp_path, build(), build(head=ProtoNet))


def test_parameters_that_a_network_does_not_take_are_told() -> None:
    with pytest.raises(
        UsageError,
        match=r"cannot construct Conv4\(channels=-3\): .*negative dimension.*\. Change the value passed with --set\.",
    ):
        build(channels=-3)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint at all", None])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "c.safetensors"
    save_tensors(path, build().state_dict(), {})
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    with pytest.raises(MetabenchError, match=r"c\.safetensors is not a readable .* \(.*\)$"):
        load_tensors(path)


def test_damaged_meta_data_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"metabench": "{"})
    with pytest.raises(MetabenchError, match="is not a readable safetensors checkpoint"):
        load_tensors(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    with pytest.raises(MissingError) as caught:
        load_weights(build(), path)
    assert str(caught.value) == f"no checkpoint at {path}"


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    save_tensors(path, build(1).state_dict(), {"episode": 1})
    before = path.read_bytes()

    def half(tensors: object, name: str, metadata: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(TypeError):
        save_tensors(path, build(2).state_dict(), {"no JSON": object()})
    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save_tensors(path, build(2).state_dict(), {"episode": 2})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
