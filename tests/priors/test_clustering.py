import pytest
import torch

from avatar_core.priors.clustering import medoids


def test_every_cluster_gets_a_sample_of_its_own():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 3, generator=generator) * 20
    samples = (centres[:, None] + torch.randn(6, 50, 3, generator=generator) * 0.1).flatten(0, 1)
    index = medoids(samples, 6, seed=0)
    assert sorted((index // 50).tolist()) == [0, 1, 2, 3, 4, 5]


def test_all_medoids_differ_though_most_samples_are_alike():
    samples = torch.cat([torch.zeros(400, 2), torch.arange(40.0)[:, None].expand(40, 2)])
    index = medoids(samples, 20, seed=3)
    assert len(set(index.tolist())) == 20


def test_the_seed_decides():
    samples = torch.rand(500, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(medoids(samples, 30, seed=5), medoids(samples, 30, seed=5))
    assert not torch.equal(medoids(samples, 30, seed=5), medoids(samples, 30, seed=6))


def test_more_clusters_than_samples_are_refused():
    with pytest.raises(ValueError, match="3 samples cannot make 4 clusters"):
        medoids(torch.zeros(3, 2), 4, seed=0)
