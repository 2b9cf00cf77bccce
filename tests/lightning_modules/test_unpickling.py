"""Hostile files: whatever a pickle names is neither run nor changed."""

import argparse
import copyreg
import io
import os
import pickle
import re
import resource
import struct
import sys
import tarfile
import threading
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import dill
import numpy as np
import pytest
import torch
from one_line import one_line
from torch import nn
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from lightning_modules import NetworkError
from lightning_modules.unpickling import Inert, Unpickler, load_tensors
from lightning_modules.weights import check_checkpoint, read_weights

FORMATS = ["zip", "legacy"]
VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# Pickles by hand.


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def found(module, name):
    return f"c{module}\n{name}\n".encode()


def call(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


def storage(form, length=4, kind="FloatStorage"):
    view = b"N" if form == "legacy" else b""
    parts = text("storage") + found("torch", kind) + text("0") + text("cpu") + number(length)
    return b"(" + parts + view + b"tQ"


def tensor(stored, offset=0, size=(4,), stride=(1,)):
    hooks = call(found("collections", "OrderedDict"))
    parts = (stored, number(offset), numbers(*size), numbers(*stride), b"\x89", hooks)
    return call(found("torch._utils", "_rebuild_tensor_v2"), *parts)


def beside(form, extra):
    """`{"model": {"w": VALUES}, "extra": extra}`."""
    return b"}(" + text("model") + b"}" + text("w") + tensor(storage(form)) + b"s" + text("extra") + extra + b"u"


def write(path, form, body, values=VALUES, **records):
    """A file of `torch.save` around a pickle, and the values of storage 0."""
    body, values = b"\x80\x02" + body + b".", values.numpy().tobytes()
    if form == "zip":
        records = {"data.pkl": body, "version": b"3\n", "data/0": values, **records}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in records.items():
                archive.writestr(f"archive/{name}", content)
    else:
        head = b"".join(pickle.dumps(part, 2) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, {}))
        stored = pickle.dumps(["0"] if b"storage" in body else [], 2) + struct.pack("<q", len(values) // 4) + values
        path.write_bytes(head + body + stored)


def refused(path):
    with pytest.raises(NetworkError, match=one_line(path)) as error:
        read_weights(path)
    assert str(error.value).isprintable()
    return str(error.value)


def is_read(path):
    state = read_weights(path)
    assert list(state) == ["model.w"]
    assert torch.equal(state["model.w"], VALUES)


# What a pickle could run. Each makes `planted` when it is loaded in good faith.

MEMMAP = found("numpy", "memmap")
IMPORT = found("builtins", "__import__")
MKDIR = call(found("os", "mkdir"), text("planted"))
PATH = call(found("pathlib", "Path"), text("planted"))


def loaded_bytes():
    """What `torch.storage._load_from_bytes` would hand to an unsafe `torch.load`."""
    file = io.BytesIO()
    torch.save(Plant(), file)
    return b"B" + struct.pack("<I", len(file.getvalue())) + file.getvalue()


class Plant:
    def __reduce__(self):
        return os.mkdir, ("planted",)


PLANTS = {
    "REDUCE": MKDIR,
    "protocol 0": b"cos\nmkdir\n(Vplanted\ntR",
    "STACK_GLOBAL": call(text("os") + text("mkdir") + b"\x93", text("planted")),
    "dotted name": call(b"\x80\x04" + text("pathlib") + text("Path.mkdir") + b"\x93", PATH),
    "INST": b"(" + text("planted") + b"ios\nmkdir\n",
    "OBJ": b"(" + found("os", "mkdir") + text("planted") + b"o",
    "NEWOBJ": MEMMAP + b"(" + text("planted") + text("uint8") + text("w+") + number(0) + number(1) + b"t\x81",
    "NEWOBJ_EX": MEMMAP
    + b"("
    + text("planted")
    + b"t}("
    + text("mode")
    + text("w+")
    + text("shape")
    + number(1)
    + b"u\x92",
    "getattr": call(call(found("builtins", "getattr"), call(IMPORT, text("os")), text("mkdir")), text("planted")),
    "eval": call(found("builtins", "eval"), text("__import__('os').mkdir('planted')")),
    "torch.load": call(found("torch.storage", "_load_from_bytes"), loaded_bytes()),
    "import": found("planted_module", "name"),
    "state": found("argparse", "Namespace") + b")\x81}" + text("a") + MKDIR + b"sb",
    "dill": call(dill.dumps(lambda name: __import__("os").mkdir(name), 2, recurse=True)[2:-1], text("planted")),
}


@pytest.fixture
def planted_module(tmp_path, monkeypatch):
    """A module that does it when it is imported."""
    (tmp_path / "planted_module.py").write_text("import os\nname = os.mkdir('planted')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("planted_module", None)


@pytest.mark.usefixtures("planted_module")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("plant", PLANTS)
def test_nothing_that_a_pickle_names_is_run(form, plant):
    write(Path("alone.pt"), form, PLANTS[plant])
    write(Path("beside.pt"), form, beside(form, PLANTS[plant]))
    refused(Path("alone.pt"))
    is_read(Path("beside.pt"))
    assert not Path("planted").exists()
    torch.load("beside.pt", weights_only=False)  # the plant is a working one
    assert Path("planted").exists()


SLOTS = b"N}" + text("polluted") + number(1) + b"s\x86b"
POLLUTION = {
    "function": (found("torch._utils", "_rebuild_tensor_v2") + SLOTS, torch._utils._rebuild_tensor_v2),
    "class": (found("argparse", "Namespace") + SLOTS, argparse.Namespace),
    "setattr": (call(found("builtins", "setattr"), found("torch", "nn"), text("polluted"), number(1)), torch.nn),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", POLLUTION)
def test_nothing_that_a_pickle_names_is_changed(form, kind, monkeypatch):
    plant, victim = POLLUTION[kind]
    monkeypatch.setattr(victim, "polluted", 0, raising=False)
    ours = [*Unpickler.KNOWN.values(), Inert]
    before = [dict(vars(value)) for value in ours]
    write(Path("w.pt"), form, beside(form, plant))
    is_read(Path("w.pt"))
    assert victim.polluted == 0
    assert [dict(vars(value)) for value in ours] == before
    torch.load("w.pt", weights_only=False)  # the plant is a working one
    assert victim.polluted == 1


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_have_no_state_to_set(form):
    """BUILD could grow a tensor over memory that is not its own, or give it hooks."""
    larger = b"(" + storage(form) + number(0) + numbers(64) + numbers(1) + b"tb"
    hooked = b"\x88N}" + text("hook") + found("os", "mkdir") + b"s\x87b"
    for state in larger, hooked:
        write(Path("w.pt"), form, b"}" + text("w") + tensor(storage(form)) + state + b"s")
        is_read(Path("w.pt"))
        (made,) = load_tensors(Path("w.pt")).values()
        assert made._backward_hooks is None and not made.requires_grad


def test_no_patch_is_written_for_modules_whose_source_differs(monkeypatch):
    """Files from before torch 1.6 hold the source of modules; torch would write a difference to `<name>.patch`."""
    function = torch._utils._rebuild_parameter
    for name in ("__name__", "dump_patches"):
        monkeypatch.setattr(function, name, getattr(function, name, False), raising=False)
    state = b"N}(" + text("__name__") + text("planted") + text("dump_patches") + b"\x88u\x86b"
    module = found("torch._utils", "_rebuild_parameter") + state + text("source.py") + text("another source")
    write(Path("w.pt"), "legacy", beside("legacy", b"(" + text("module") + module + b"tQ"))
    is_read(Path("w.pt"))
    assert not Path("planted.patch").exists()
    with pytest.warns(torch.serialization.SourceChangeWarning):
        torch.load("w.pt", weights_only=False)  # the plant is a working one
    assert Path("planted.patch").exists()


def test_a_torchscript_archive_is_refused(monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: os.mkdir("planted"))
    write(Path("w.pt"), "zip", beside("zip", b"N"), **{"constants.pkl": b"\x80\x02).", "code/__torch__.py": b""})
    assert "a TorchScript archive" in refused(Path("w.pt"))
    assert not Path("planted").exists()
    with pytest.warns(UserWarning, match="TorchScript"):
        torch.load("w.pt", weights_only=False)
    assert Path("planted").exists()


def test_a_tar_archive_is_refused():
    """It may begin like a pickle; its members would be extracted, and some of them unpickled."""
    with tarfile.open("w.pt", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("\udc80", "storages", "tensors", "pickle"):
            content = b"\x80\x02" + PLANTS["REDUCE"] + b"."
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert Path("w.pt").read_bytes()[:1] == b"\x80"
    assert "a tar archive" in refused(Path("w.pt"))
    with pytest.raises(ValueError, match=r"none of torch.save's"):
        load_tensors(Path("w.pt"))
    assert not Path("planted").exists()
    with pytest.raises(TypeError):
        torch.load("w.pt", weights_only=False)
    assert Path("planted").exists()  # the plant is a working one


def test_a_pickle_is_no_safetensors_file_whatever_its_name():
    for form in FORMATS:
        write(Path("w.safetensors"), form, beside(form, PLANTS["REDUCE"]))
        refused(Path("w.safetensors"))
    assert not Path("planted").exists()


def test_a_link_is_as_good_as_its_target():
    write(Path("w.pt"), "zip", beside("zip", PLANTS["REDUCE"]))
    Path("link.pt").symlink_to("w.pt")
    Path("loop.pt").symlink_to("loop.pt")
    Path("dangling.pt").symlink_to("nowhere.pt")
    is_read(Path("link.pt"))
    assert not Path("planted").exists()
    for name in ("loop.pt", "dangling.pt"):
        assert "no such weights file" in refused(Path(name))


# Memory.


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (1, (4,), (1,)),
        (0, (5,), (1,)),
        (0, (4,), (2,)),
        (-1, (4,), (1,)),
        (0, (-4,), (1,)),
        (3, (4,), (-1,)),
        (2**62, (4,), (1,)),
        (0, (2**62,), (4,)),
        (0, (2**32, 2**32), (1, 1)),
        (0, (2**32, 2**32), (0, 0)),
        (0, (2**40,), (0,)),  # four terabytes if it were copied
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_beyond_the_values_in_the_file_is_refused(form, offset, size, stride):
    write(Path("w.pt"), form, b"}" + text("w") + tensor(storage(form), offset, size, stride) + b"s")
    refused(Path("w.pt"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("length", [3, 5, 0, -4, 2**50, 2**61, 2**62 + 1, -(2**61), 2**63])
def test_a_storage_of_another_length_than_in_the_file_is_refused(form, length):
    write(Path("w.pt"), form, b"}" + text("w") + tensor(storage(form, length), size=(0,)) + b"s")
    refused(Path("w.pt"))


@pytest.mark.filterwarnings("ignore:.*quantize")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["QInt8Storage", "QUInt4x2Storage", "UntypedStorage", "Storage", "AnyStorage"])
def test_a_storage_of_no_plain_type_is_refused(form, kind):
    write(Path("w.pt"), form, b"}" + text("w") + tensor(storage(form, kind=kind)) + b"s")
    refused(Path("w.pt"))


def test_values_that_never_come_are_zeros():
    """Before torch 1.6 they follow the pickle; without them there would be left-overs of this process's memory."""
    write(Path("w.pt"), "legacy", b"}" + text("w") + tensor(storage("legacy", 50), size=(50,)) + b"s")
    head, _, _ = Path("w.pt").read_bytes().rpartition(pickle.dumps(["0"], 2))
    Path("w.pt").write_bytes(head + pickle.dumps([], 2))
    for seed in range(20):  # each leaves its memory behind
        torch.full((50,), float(seed + 1))
        assert not read_weights(Path("w.pt"))["model.w"].any()


@pytest.mark.parametrize("form", FORMATS)
def test_a_pickle_cannot_take_memory_by_what_it_remembers(form):
    """To remember object number 2**27 takes 2 GiB in a table of all numbers."""
    write(Path("w.pt"), form, beside(form, b"Nr" + struct.pack("<I", 2**27)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    is_read(Path("w.pt"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB


def extra_memory(action):
    """The largest that the process was meanwhile, beyond what it was before, in MiB."""
    before, most, done = resident(), 0, threading.Event()

    def watch():
        nonlocal most
        while not done.wait(0.001):
            most = max(most, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    action()
    done.set()
    watcher.join()
    return (max(most, resident()) - before) / 2**20


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_a_pickle_cannot_take_memory_that_is_not_in_the_file(form, kind):
    greedy = b"\x96" + struct.pack("<Q", 2**31) if kind == "bytes" else storage(form, 2**29)
    write(Path("w.pt"), form, beside(form, greedy))
    assert extra_memory(lambda: refused(Path("w.pt"))) < 500


def test_a_compressed_archive_is_refused():
    """It may unpack to any size; torch writes none."""
    write(Path("w.pt"), "zip", beside("zip", b"N"))
    with zipfile.ZipFile("w.pt") as honest, zipfile.ZipFile("z.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in honest.namelist():
            archive.writestr(name, honest.read(name))
    is_read(Path("w.pt"))
    assert "a compressed archive" in refused(Path("z.pt"))


# Damage.


def test_a_flipped_bit_is_told_or_without_effect():
    """Torch itself does not compare the checksums of its archives."""
    saved = {"w": torch.rand(64, generator=torch.Generator().manual_seed(0))}
    torch.save(saved, "w.pt")
    whole = Path("w.pt").read_bytes()
    values = whole.index(saved["w"].numpy().tobytes())
    told = 0
    for at in [*range(0, len(whole), 29), *range(values, values + 256, 7)]:
        damaged = bytearray(whole)
        damaged[at] ^= 4
        Path("d.pt").write_bytes(damaged)
        try:
            state = read_weights(Path("d.pt"))
        except NetworkError as error:
            assert re.fullmatch(one_line("d.pt"), str(error))
            told += 1
        else:
            assert not values <= at < values + 256
            assert state.keys() == {"model.w"} and torch.equal(state["model.w"], saved["w"])
    assert told > 40
    Path("d.pt").write_bytes(whole[:values] + bytes([whole[values] ^ 1]) + whole[values + 1 :])
    assert "damaged: w/data/0 does not match its checksum" in refused(Path("d.pt"))
    assert not torch.equal(torch.load("d.pt")["w"], saved["w"])  # it does matter


def test_an_archive_without_checksums_is_read():
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": VALUES}, "w.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    with zipfile.ZipFile("w.pt") as archive:
        assert not any(record.CRC for record in archive.infolist())
    is_read(Path("w.pt"))


def test_records_that_overlap_are_refused():
    """A small file could ask for the same values again and again."""
    write(Path("w.pt"), "zip", beside("zip", b"N"), torch.zeros(1000))
    with zipfile.ZipFile("w.pt", "a") as archive:
        again = archive.getinfo("archive/data/0")
        archive.filelist += [again] * 9
        archive._didModify = True
    assert "records are larger than the file" in refused(Path("w.pt"))


def test_an_archive_of_other_things_is_told():
    with zipfile.ZipFile("w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/w.pt", "text")
    assert "a zip archive of other things, such as folder/w.pt" in refused(Path("w.pt"))
    with zipfile.ZipFile("w.pt", "w"):
        pass
    refused(Path("w.pt"))


@pytest.mark.parametrize("form", FORMATS)
def test_a_counter_is_a_plain_container(form):
    """Torch keeps the epochs of MultiStepLR in one."""
    counter = Counter({3: 1, 7: 2})
    torch.save({"model": {"w": VALUES}, "c": counter}, "w.pt", _use_new_zipfile_serialization=form == "zip")
    made = load_tensors(Path("w.pt"))["c"]
    assert type(made) is Counter and made == counter


@pytest.mark.parametrize("form", FORMATS)
def test_many_counters_of_the_same_numbers_are_few(form):
    """Else a file could ask for as many copies of a large one as it has lines."""
    numbers = b"}q\x07(" + b"".join(number(i) + b"K\x01" for i in range(9)) + b"u0"
    copies = b"(" + (found("collections", "Counter") + b"(h\x07tR") * 3 + b"t"
    write(Path("w.pt"), form, beside(form, numbers + copies))
    assert [len(each) for each in load_tensors(Path("w.pt"))["extra"]] == [9, 0, 0]


@pytest.mark.parametrize("form", FORMATS)
def test_numbers_are_not_added_to_a_tensor(form):
    write(Path("w.pt"), form, b"}" + text("w") + tensor(storage(form)) + b"(K\x01\x90s")
    is_read(Path("w.pt"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("code", [b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"])
def test_extensions_are_refused_also_those_in_use(form, code, monkeypatch):
    monkeypatch.setitem(copyreg._extension_cache, 240, os.mkdir)
    write(Path("w.pt"), form, beside(form, call(code, text("planted"))))
    assert "extensions" in refused(Path("w.pt"))
    assert not Path("planted").exists()


@pytest.mark.parametrize("value", [b"]q\x0ah\x0aa", b"N" + b"2\x86" * 40], ids=["holds itself", "shares"])
def test_a_checkpoint_is_searched_for_code_in_finite_time(value):
    known = text("pytorch-lightning_version") + text("2")
    state = text("state_dict") + b"}" + text("w") + tensor(storage("zip")) + b"s"
    write(Path("w.pt"), "zip", b"}(" + known + state + text("x") + value + b"u")
    with pytest.raises(NetworkError, match="do not fit"):
        check_checkpoint(nn.Linear(1, 1), Path("w.pt"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "deep",
    [b"]" * 100_000 + b"a" * 99_999, b")" + b"\x85" * 100_000, b"})" + b"\x85" * 5_000 + b"Ns"],
    ids=["lists", "tuples", "key"],
)
def test_deep_nesting_is_no_recursion(form, deep):
    write(Path("w.pt"), form, beside(form, deep))
    is_read(Path("w.pt"))
    write(Path("w.pt"), form, deep)
    refused(Path("w.pt"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("key", ["a\nb", "a\rb", "\x1b[31mred", "\u202ereversed"])
def test_a_name_that_a_terminal_would_obey_is_refused(form, key):
    write(Path("w.pt"), form, b"}" + text(key) + tensor(storage(form)) + b"s")
    refused(Path("w.pt"))


@pytest.mark.parametrize("key", [number(1), b"N", b"(K\x01K\x02t", found("os", "mkdir"), tensor(storage("zip"))])
def test_a_name_that_is_no_text_is_refused(key):
    write(Path("w.pt"), "zip", b"}" + key + tensor(storage("zip")) + b"s")
    assert "no tensor's name" in refused(Path("w.pt"))


def test_an_archive_whose_names_disagree_is_refused():
    with zipfile.ZipFile("w.pt", "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("other\x1b[31m/data.pkl", b"\x80\x02" + PLANTS["REDUCE"] + b".")
    refused(Path("w.pt"))
    assert not Path("planted").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_is_refused(form):
    write(Path("w.pt"), form, beside(form, b"N"))
    whole = Path("w.pt").read_bytes()
    for length in range(0, len(whole), 7):
        Path("w.pt").write_bytes(whole[:length])
        refused(Path("w.pt"))


# What honest files hold.


class Local(OrderedDict):
    def __init__(self, value):
        super().__init__(value=value)
        self.attribute = value


def honest():
    class Schedule:
        def __init__(self):
            self.factor = lambda epoch: 0.1**epoch

    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    return {
        "lambda": lambda x: x + 1,
        "object of a class in the file": Schedule(),
        "subclasses of containers": [Local(3), deque([1]), deque([1, 2]), Counter("ab")],
        "numpy": [np.float64(57.9), np.arange(3), np.dtype("float32")],
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict(),
        "module": nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()),
        "containers": [{1, 2}, frozenset({3}), defaultdict(list, a=[1]), (1, None, True, 1.5, b"b", 2**80, "ü", 1j)],
        "torch": [torch.float16, torch.device("cpu"), torch.Size([1]), torch.zeros(2).to_sparse()],
        "path": Path("a"),
    }


@pytest.mark.filterwarnings("ignore::dill.PicklingWarning")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", honest())
def test_what_lies_beside_the_weights_does_not_matter(form, protocol, name):
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": form == "zip"}
    torch.save({name: honest()[name], "model": {"w": VALUES}}, "w.pt", pickle_module=dill, **options)
    is_read(Path("w.pt"))
    assert os.listdir() == ["w.pt"]


def test_tensors_of_a_rare_kind_may_lie_beside_the_weights():
    torch.save({"rare": torch.zeros(2, dtype=torch.uint16), "model": {"w": VALUES}}, "w.pt")
    is_read(Path("w.pt"))


def bits(value):
    return value.detach().flatten().contiguous().view(torch.uint8).tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_tensors_are_bit_for_bit_those_that_were_saved(form):
    square = torch.arange(12.0).view(3, 4)
    saved = {
        **{str(kind): (square - 5.3).to(kind) for kind in (torch.half, torch.bfloat16, torch.double, torch.cfloat)},
        **{str(kind): square.to(kind) for kind in (torch.int64, torch.int8, torch.uint8, torch.bool)},
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "transposed": square.T,
        "part": square[1:, ::2],
        "same storage": square,
        "parameter": nn.Parameter(square + 1),
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "odd": torch.tensor([float("nan"), -0.0, float("-inf"), 1e-45]),
    }
    torch.save(saved, "w.pt", _use_new_zipfile_serialization=form == "zip")
    loaded = load_tensors(Path("w.pt"))
    assert loaded.keys() == saved.keys()
    for name, value in saved.items():
        made = loaded[name]
        assert (made.dtype, made.shape, made.stride()) == (value.dtype, value.shape, value.stride())
        assert bits(made) == bits(value)
