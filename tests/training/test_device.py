import pytest
import torch

from freqd.errors import InputError
from freqd.training.device import resolve


def test_auto_is_cuda_if_there_is_any():
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(InputError, match=name):
        resolve(name)
