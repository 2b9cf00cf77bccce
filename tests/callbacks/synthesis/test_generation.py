import torch
from torch import nn

from attacks import L2
from callbacks import Generation


def test_it_starts_from_the_channel_mean_and_paints_what_the_labels_say():
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(20 * torch.eye(3).view(3, 3, 1, 1))  # class = brightest channel
    torch.manual_seed(0)
    batch = {"image": torch.rand(2, 3, 16, 16), "label": torch.zeros(2, 16, 16, dtype=torch.long)}
    batch["label"][:, :, 8:] = 2
    batch["label"][0, :4] = 255
    (painting,) = Generation(L2(30), steps=40, step_size=0.5).synthesize(network, batch)
    mean = batch["image"].mean((2, 3), keepdim=True)
    assert torch.allclose(painting.start, mean.expand_as(painting.start))
    valid = batch["label"] != 255
    assert (network(painting.result).argmax(1) == batch["label"])[valid].all()
    untouched = (painting.result - painting.start)[0][:, :4].abs().max()
    assert untouched == 0, "void pixels are asked nothing"
