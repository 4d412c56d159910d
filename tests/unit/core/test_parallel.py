import pytest
import torch
import torch.distributed as dist

from had_core.parallel import Solo, TorchParallel, default_group


@pytest.fixture
def group_of_one():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_group_of_one_rank_is_not_asked_and_gives_the_same(group_of_one):
    assert isinstance(default_group(), Solo)
    values = torch.randn(7)
    for parallel in (default_group(), TorchParallel()):
        summed = values.clone()
        parallel.all_reduce_sum(summed)
        assert torch.equal(summed, values)
        assert (parallel.rank, parallel.world_size) == (0, 1)


def test_a_larger_group_is_asked(group_of_one, monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    assert isinstance(default_group(), TorchParallel)
