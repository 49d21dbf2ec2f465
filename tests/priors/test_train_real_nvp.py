import json

import pytest
import torch
from torch.nn.functional import normalize

from avatar_core.errors import DivergenceError, WeightsError
from avatar_core.priors import train_real_nvp
from avatar_core.priors.real_nvp import ConditionalRealNvp, RealNvpConfig
from avatar_core.priors.real_nvp_data import FlowData, pair_up, split_groups
from avatar_core.priors.train_real_nvp import FlowTraining, main, measure, train

CONFIG = RealNvpConfig(latent=32, feature=8, embedding=8, hidden=24, layers=4, encoder="made up")
ACTIONS = ("running", "sitting", "kicking a ball", "lying down")


class WordEncoder:
    """Stands for an encoder: every text has a direction of its own, near one that all share."""

    digest, dim, device = "made up", 8, torch.device("cpu")

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        rows = [
            torch.randn(8, generator=torch.Generator().manual_seed(sum(map(ord, text))))
            + 2 * torch.nn.functional.one_hot(torch.tensor(0), 8)
            for text in texts
        ]
        return normalize(torch.stack(rows), dim=-1)


@pytest.fixture
def data() -> FlowData:
    """Poses of four actions, each about a place of its own in the latent; every other one has a picture."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(400) % 4
    places = torch.randn(4, 32, generator=generator)
    pictures = normalize(torch.randn(4, 8, generator=generator), dim=-1)[kind]
    pictures[::2] = 0
    return pair_up(
        latents=places[kind] + 0.3 * torch.randn(400, 32, generator=generator),
        labels=[ACTIONS[k] for k in kind],
        texts=[(ACTIONS[k], f"{ACTIONS[k]} outside") for k in kind],
        pictures=pictures,
        encoder=WordEncoder(),
    )


def test_directions_are_those_of_a_poses_own_words_and_picture(data):
    index = torch.arange(400)
    told = data.directions(index, 0.0, torch.Generator().manual_seed(0))
    for row in range(40):
        group = data.groups[row]
        own = data.phrases[data.phrase_start[group] : data.phrase_start[group] + data.phrase_count[group]]
        assert (data.texts[:, own] - told[row]).abs().amax(-1).min() < 1e-6
    shown = data.directions(index, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(shown[1::2], data.pictures[1::2])
    assert torch.allclose(shown[::2].norm(dim=-1), torch.ones(200), atol=1e-5)


def test_rare_actions_count_more(data):
    rare = pair_up(
        latents=torch.zeros(5, 32), labels=["a", "a", "a", "a", "b"], texts=[("a",)] * 4 + [("b",)],
        pictures=torch.zeros(5, 8), encoder=WordEncoder(),
    )  # fmt: skip
    assert rare.weights.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 1.0])


def test_held_out_captions_are_not_trained_on(data):
    training, held = split_groups(data, 0.25, 0)
    assert len(training.latents) == 300
    assert not set(training.groups.tolist()) & set(held.groups.tolist())


def test_training_lowers_the_negative_log_likelihood_below_one_gaussian(data):
    settings = FlowTraining(steps=100, batch=128, learning_rate=5e-3)
    found = [
        measure(train(data, CONFIG, FlowTraining(steps=steps, batch=128, learning_rate=5e-3)), data, data, settings)
        for steps in (1, 100)
    ]
    assert found[1]["held_out_nats_by_text"] < found[0]["held_out_nats_by_text"] - 5
    assert found[1]["held_out_nats_by_text"] < found[1]["held_out_nats_of_one_gaussian"]


def test_training_goes_on_exactly_where_it_stopped(data, tmp_path, killed_after):
    settings = FlowTraining(steps=12, batch=16)
    whole = train(data, CONFIG, settings)
    checkpoint = tmp_path / "flow.ckpt"
    with pytest.raises(killed_after(8)):
        train(data, CONFIG, settings, checkpoint, every=4)
    resumed = train(data, CONFIG, settings, checkpoint, every=4)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    train(data, CONFIG, FlowTraining(steps=1, batch=8), tmp_path / "flow.ckpt", every=1)
    with pytest.raises(WeightsError, match="other settings"):
        train(data, CONFIG, FlowTraining(steps=1, batch=9), tmp_path / "flow.ckpt")


def test_a_training_that_is_not_finite_is_reported(data):
    with pytest.raises(DivergenceError, match="lower --learning-rate"):
        train(data, CONFIG, FlowTraining(steps=50, batch=8, learning_rate=1e30))


def test_the_command_writes_a_flow_that_loads(data, tmp_path, monkeypatch):
    monkeypatch.setattr("avatar_core.perception.encoder.load_encoder", lambda name: WordEncoder())
    monkeypatch.setattr(train_real_nvp, "flow_data", lambda encoder, body: data)
    main(["--out", str(tmp_path / "out"), "--steps", "3", "--checkpoints", str(tmp_path / "kept")])
    pose_vae = train_real_nvp.PoseVAE.load().digest
    flow = ConditionalRealNvp.load(tmp_path / "out", encoder="made up", pose_vae=pose_vae)
    assert torch.allclose(flow.text_means, data.text_means, atol=1e-3)
    measures = json.loads((tmp_path / "out" / "measures.json").read_text(encoding="utf-8"))
    assert measures["held_out_nats_of_one_gaussian"] > 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"measured.ckpt", "kept.ckpt"}
