import math
import shutil
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from avatar_core.errors import WeightsError
from avatar_core.perception.encoder import load_encoder
from avatar_core.priors.checkpointing import initialise
from avatar_core.priors.pose_vae import PoseVAE
from avatar_core.priors.real_nvp import AffineCoupling, ConditionalRealNvp, RealNvpConfig, coupling_masks
from avatar_core.priors.weights import weights_folder

SMALL = RealNvpConfig(latent=6, feature=5, embedding=4, hidden=16, layers=5, encoder="e" * 64, pose_vae="p" * 64)


def drawn(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def flow() -> ConditionalRealNvp:
    """A small flow in double precision whose weights are random, so that every layer does something."""
    model = ConditionalRealNvp(SMALL)
    initialise(model, torch.Generator().manual_seed(1))
    return model.double().requires_grad_(False)


def test_a_coupling_inverts_exactly_and_keeps_what_it_reads():
    mask = torch.tensor([1.0, 0, 1, 0, 0, 1])
    coupling = AffineCoupling(mask, 4, 16).double()
    initialise(coupling, torch.Generator().manual_seed(1))
    values, condition = drawn(0, 20, 6), drawn(1, 20, 4)
    changed, _ = coupling(values, condition)
    assert torch.equal(changed[:, mask.bool()], values[:, mask.bool()])
    assert (changed - values).abs()[:, ~mask.bool()].min() > 1e-6
    assert torch.allclose(coupling.inverse(changed, condition), values, atol=1e-12)


def test_a_couplings_log_determinant_is_that_of_its_jacobian():
    coupling = AffineCoupling(torch.tensor([0.0, 1, 0, 1, 1, 0]), 4, 16).double()
    initialise(coupling, torch.Generator().manual_seed(1))
    values, condition = drawn(0, 3, 6), drawn(1, 3, 4)
    _, claimed = coupling(values, condition)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda value, row=row: coupling(value[None], condition[row : row + 1])[0][0], values[row]
        )
        assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(claimed[row].item(), abs=1e-10)


def test_the_flow_inverts_exactly(flow):
    latents, directions = drawn(0, 50, 6), normalize(drawn(1, 50, 5), dim=-1)
    noise, _ = flow.to_noise(latents, directions)
    assert (noise - latents).abs().mean() > 0.1
    assert torch.allclose(flow.to_latents(noise, directions), latents, atol=1e-10)


def test_the_likelihood_is_the_gaussians_times_the_jacobian(flow):
    latent, direction = drawn(0, 6), normalize(drawn(1, 5), dim=-1)
    jacobian = torch.autograd.functional.jacobian(
        lambda value: flow.to_noise(value[None], direction[None])[0][0], latent
    )
    noise = flow.to_noise(latent[None], direction[None])[0][0]
    expected = torch.linalg.slogdet(jacobian).logabsdet - 0.5 * noise.square().sum() - 3 * math.log(2 * math.pi)
    assert flow.log_likelihood(latent[None], direction[None]).item() == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize(("size", "layers"), [(32, 8), (7, 4)])
def test_masks_alternate_so_that_every_number_is_changed_and_read(size, layers):
    masks = torch.stack(coupling_masks(size, layers))
    assert masks.shape == (layers, size)
    assert torch.equal(masks[0::2] + masks[1::2], torch.ones(layers // 2, size))
    assert ((masks.sum(1) - size / 2).abs() <= 0.5).all()


def test_draws_depend_on_the_text_and_the_generator_alone(flow):
    target = normalize(drawn(2, 5), dim=-1)
    first, again, other = (flow.sample(target, 4, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, flow.sample(-target, 4, torch.Generator().manual_seed(3)))


def test_a_flow_survives_the_disk_in_half_precision(flow, tmp_path):
    flow.save(tmp_path)
    loaded = ConditionalRealNvp.load(tmp_path, encoder="e" * 64, pose_vae="p" * 64)
    assert loaded.config == SMALL
    assert len(loaded.digest) == 64
    latents, directions = drawn(0, 9, 6), normalize(drawn(1, 9, 5), dim=-1)
    expected = flow.log_likelihood(latents, directions).float()
    assert torch.allclose(loaded.log_likelihood(latents.float(), directions.float()), expected, atol=0.1)


@pytest.mark.parametrize(("given", "named"), [({"encoder": "x" * 64}, "encoder"), ({"pose_vae": "x" * 64}, "pose VAE")])
def test_a_flow_of_another_model_is_refused_with_the_remedy(flow, tmp_path, given, named):
    flow.save(tmp_path)
    with pytest.raises(WeightsError, match=rf"belongs to the {named}.*train_real_nvp.*another candidate_poses.method"):
        ConditionalRealNvp.load(tmp_path, **{"encoder": "e" * 64, "pose_vae": "p" * 64, **given})


def test_missing_and_damaged_flows_are_refused_with_the_remedy(flow, tmp_path):
    names = {"encoder": "e" * 64, "pose_vae": "p" * 64}
    with pytest.raises(WeightsError, match=r"no pose flow.*train_real_nvp"):
        ConditionalRealNvp.load(tmp_path / "none", **names)
    flow.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match=r"no weights of this pose flow.*train_real_nvp"):
        ConditionalRealNvp.load(tmp_path, **names)
    ConditionalRealNvp(replace(SMALL, hidden=8)).save(tmp_path / "other")
    shutil.copy(tmp_path / "config.json", tmp_path / "other" / "config.json")
    with pytest.raises(WeightsError, match="no weights of this pose flow"):
        ConditionalRealNvp.load(tmp_path / "other", **names)


def test_the_shipped_flow_belongs_to_the_shipped_models():
    """Fails when the encoder or the pose VAE changed and the flow was not trained again."""
    flow = ConditionalRealNvp.load(encoder=load_encoder("bodyclip").digest, pose_vae=PoseVAE.load().digest)
    assert flow.config.latent == 32
    assert sum(path.stat().st_size for path in weights_folder("real_nvp").iterdir()) < 2e6
