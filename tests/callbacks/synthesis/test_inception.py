import pytest
import torch
from one_line import one_line

from callbacks.synthesis.inception import PublishedInception
from callbacks.synthesis.set_scores import set_scores


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of the published one's names and shapes, of small random weights."""
    torch_fidelity = pytest.importorskip("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class Empty(torch_fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            return None

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    torch.save(Empty("inception-v3-compat", ["2048"], str(path)).state_dict(), path)
    return module, path


def test_logits_and_representation_are_those_of_torch_fidelity(weights):
    module, path = weights
    theirs = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    image = torch.rand(2, 3, 40, 50)
    expected, logits = theirs((255 * image).round().byte())
    network = PublishedInception(str(path))
    seen = []
    network.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert torch.allclose(network(image), logits, atol=1e-5)
    assert torch.equal(seen[0], expected)


@pytest.mark.filterwarnings("ignore:fid")
def test_it_scores_sets(weights):
    scores = set_scores([torch.rand(3, 3, 32, 32)], [torch.rand(4, 3, 32, 32)], PublishedInception(str(weights[1])))
    assert set(scores) == {"inception_score", "fid", "painted", "real"} and scores["fid"] > 0


def test_a_file_that_is_none_of_it_is_told(tmp_path):
    with pytest.raises(ValueError, match=one_line("nowhere.pth: No such file", "weights-inception-2015-12-05")):
        PublishedInception(str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(ValueError, match=one_line("text.pth: it holds other weights, or is damaged")):
        PublishedInception(str(tmp_path / "text.pth"))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    torch.save({"evil": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=one_line("evil.pth: it holds other weights, or is damaged")):
        PublishedInception(str(tmp_path / "evil.pth"))
    assert "executed" not in capsys.readouterr().out


def test_other_weights_are_told(tmp_path):
    pytest.importorskip("torch_fidelity")
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(ValueError, match=one_line("linear.pth: it holds other weights, or is damaged")):
        PublishedInception(str(tmp_path / "linear.pth"))


def test_without_the_package_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    torch.save({}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=one_line("pip install torch-fidelity")):
        PublishedInception(str(tmp_path / "weights.pth"))
