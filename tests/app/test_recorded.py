"""Forwards without the interpreter: the same bits, where they can be had at all, and nothing left behind."""

import gc
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_factory import make_entry

from app.engine.device import CpuDevice, CpuNetwork, Pixels, cpu, recorded
from app.engine.loading import example_rows
from models.checkpoint import load_checkpoint


@pytest.mark.parametrize("family", ["conditional", "mlp", "dcgan", "pix2pix", "inpaint"])
def test_a_recorded_forward_gives_the_bits_of_one_that_runs_layer_by_layer(tmp_path: Path, family: str) -> None:
    make_entry(tmp_path, "m", family)
    rows = example_rows(load_checkpoint(tmp_path / "m" / "1"))

    def drawn() -> dict[int, tuple[Tensor, Pixels]]:
        network = CpuDevice("float32", 1).prepare(load_checkpoint(tmp_path / "m" / "1").generator, rows)
        assert isinstance(network, CpuNetwork)
        given = {size: tuple(r[:size] for r in rows) for size in network.sizes}
        return {size: (network.images(some), network.draw(some)) for size, some in given.items()}

    with mock.patch.object(cpu, "in_pictures", side_effect=AssertionError("a size was not recorded")):
        with_recordings = drawn()
    with mock.patch.object(recorded, "recording", side_effect=RuntimeError("TorchScript has gone")):
        for size, (images, pixels) in drawn().items():
            assert torch.equal(images, with_recordings[size][0]) and np.array_equal(pixels, with_recordings[size][1])


def test_models_are_recorded_without_a_word_also_while_others_are_loaded() -> None:
    """Whoever stops ignoring warnings, stops it for all threads."""
    begun, ended = threading.Event(), threading.Event()

    def first(x: Tensor) -> recorded.Drawn:
        begun.wait(0.5)  # in vain, as the second has to wait
        return x[: len(x)], x

    def second(x: Tensor) -> recorded.Drawn:
        begun.set()
        ended.wait(10)
        return x[: len(x)], x

    with warnings.catch_warnings(record=True, action="always") as said, ThreadPoolExecutor(2) as threads:
        recording_first = threads.submit(recorded.recording, first, (torch.ones(2, 2),))
        recording_first.add_done_callback(lambda _: ended.set())
        threads.submit(recorded.recording, second, (torch.ones(2, 2),)).result()
        recording_first.result()
    assert [str(warning.message) for warning in said] == []


def test_where_torch_lacks_onednn_its_own_layers_draw(tmp_path: Path) -> None:
    make_entry(tmp_path, "m", "pix2pix")
    rows = example_rows(load_checkpoint(tmp_path / "m" / "1"))

    def drawn() -> Pixels:
        network = CpuDevice("float32", 1).prepare(load_checkpoint(tmp_path / "m" / "1").generator, rows)
        return network.draw(tuple(r[:1] for r in rows)).astype(int)

    usual = drawn()
    with (
        mock.patch.object(torch, "mkldnn_convolution", side_effect=RuntimeError("no oneDNN in this build")),
        mock.patch.object(recorded.PackedUp, "__init__", side_effect=AttributeError("nor its packing")),
    ):
        assert np.abs(drawn() - usual).max() <= 1


def test_a_network_that_is_no_longer_used_leaves_nothing_in_memory(tmp_path: Path) -> None:
    make_entry(tmp_path, "m", "dcgan")
    checkpoint = load_checkpoint(tmp_path / "m" / "1")
    weights = [weakref.ref(parameter) for parameter in checkpoint.generator.parameters()]
    network = CpuDevice("float32", 1).prepare(checkpoint.generator, example_rows(checkpoint))
    del checkpoint, network
    gc.collect()
    assert not any(weight() is not None for weight in weights)
