import torch
from torch import nn

from attacks.shells import in_autocast, leave_out, let_rest, shells


class Tied(nn.Module):
    """Two names for one map and one weight, a part that is nothing, and things of its own."""

    def __init__(self):
        super().__init__()
        self.first = self.again = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight
        self.nothing = None
        self.register_module("none", None)
        self.register_buffer("offset", torch.ones(3))
        self.scale, self.listed = 2.0, [self.first]

    def forward(self, x):
        return self.tied(self.again(self.first(x))) * self.scale + self.offset


def shell_of(network):
    return shells(network)[id(network)]


def test_a_shell_is_what_the_network_is():
    network = Tied()
    shell = shell_of(network)
    x = torch.rand(2, 3)
    assert type(shell) is Tied
    assert torch.equal(shell(x), network(x))
    assert shell.first is shell.again
    assert shell.first is not network.first
    assert shell.first.weight is shell.tied.weight
    assert list(shell.state_dict()) == list(network.state_dict())


def test_its_weights_are_the_networks_memory_and_ask_for_nothing():
    network = Tied()
    shell = shell_of(network)
    assert not any(parameter.requires_grad for parameter in shell.parameters())
    for mine, theirs in zip(shell.parameters(), network.parameters(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
        assert theirs.requires_grad
    assert not shell(torch.rand(2, 3)).requires_grad
    assert shell(torch.rand(2, 3, requires_grad=True)).requires_grad


def test_what_is_set_on_it_is_not_set_on_the_network():
    network = Tied()
    shell = shell_of(network)
    shell.scale, shell.offset, shell.first = 7.0, torch.zeros(3), nn.Identity()
    shell.train(False)
    assert network.scale == 2
    assert torch.equal(network.offset, torch.ones(3))
    assert isinstance(network.first, nn.Linear)
    assert network.training


def test_hooks_are_one():
    network = Tied()
    shell = shell_of(network)
    seen = []
    handle = network.first.register_forward_hook(lambda *_: seen.append("network's"))
    other = shell.tied.register_forward_hook(lambda *_: seen.append("shell's"))
    shell(torch.rand(2, 3))
    network(torch.rand(2, 3))
    assert seen == ["network's", "network's", "shell's"] * 2  # `first` works twice
    handle.remove()
    other.remove()
    assert not network.first._forward_hooks
    assert not network.tied._forward_hooks


def test_what_cannot_be_taken_apart_stays_as_it_is():
    scripted = torch.jit.script(nn.Linear(3, 3))
    compiled = torch.compile(nn.Sequential(nn.Linear(3, 3)))
    own = nn.Linear(3, 3)
    own.forward = lambda x: x + 1
    network = nn.Sequential(scripted, compiled, own)
    found = shells(network)
    assert [*found] == [id(network)]
    assert [*found[id(network)]] == [scripted, compiled, own]


def test_torchvisions_auxiliary_head_is_left_out():
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large
    from torchvision.models.segmentation.fcn import FCN

    head = FCN(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1))
    assert shell_of(head).aux_classifier is None
    assert head.aux_classifier is not None
    own = nn.ModuleDict({"aux_classifier": nn.Conv2d(3, 2, 1)})  # what others make of the name is not known
    assert shell_of(own)["aux_classifier"] is not None
    assert lraspp_mobilenet_v3_large


def test_a_map_computes_with_other_weights_unless_somebody_looks():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    made = shells(network)
    linear, norm = made[id(network[0])], made[id(network[1])]
    hooks = network[0]._forward_hooks
    let_rest(linear, {"weight": torch.zeros(2, 2), "bias": torch.tensor([5.0, 6.0])}, (hooks,))
    leave_out(norm, (hooks,))
    x = torch.rand(3, 2)
    shell = made[id(network)]
    assert isinstance(linear, nn.Linear)
    assert type(linear).__name__ == "_RestingLinear"  # two classes of one name would be ambiguous in a config
    assert torch.equal(shell(x), torch.tensor([[5.0, 6.0]] * 3))
    assert torch.equal(linear.weight, network[0].weight)
    seen = []
    handle = shell[0].register_forward_hook(lambda *call: seen.append(call[2]))
    assert torch.equal(shell(x), network(x))
    assert torch.equal(seen[0], seen[1])
    handle.remove()
    assert torch.equal(shell(x), torch.tensor([[5.0, 6.0]] * 3))


def test_weights_are_back_after_an_exception():
    network = nn.Sequential(nn.Linear(2, 2))
    linear = shells(network)[id(network[0])]
    let_rest(linear, {"weight": torch.zeros(3, 3), "bias": None})
    try:
        linear(torch.rand(1, 2))
    except RuntimeError:
        assert torch.equal(linear.weight, network[0].weight)
    else:
        raise AssertionError("a 2 by 3 product")


def test_autocast_gives_float32():
    network = nn.Sequential(nn.Linear(2, 2))
    shell = shell_of(network)
    in_autocast(shell, torch.bfloat16)
    seen = []
    shell[0].register_forward_hook(lambda *call: seen.append(call[2].dtype))
    assert shell(torch.rand(1, 2)).dtype == torch.float32
    assert seen == [torch.bfloat16]
    assert isinstance(shell, nn.Sequential)
