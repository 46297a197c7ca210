"""The compiler itself, once: what it makes is kept, found again without compiling, and ends with whoever asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._inductor import config
from torch.fx.experimental.proxy_tensor import make_fx

from core_server.pipelines.devices import Memory
from core_server.pipelines.tiers.compiled import CompiledBlocks
from core_server.pipelines.tiers.compiled_build import BUILDING, request
from core_server.pipelines.tiers.compiled_builder import BlockCompiler, can_compile
from core_server.pipelines.tiers.compiled_graph import without_complex_numbers
from core_server.pipelines.tiers.compiled_orders import Order
from core_server.pipelines.tiers.compiled_store import ProgramStore

CPU = torch.device("cpu")
PATIENCE_SECONDS = 900
"""A compiler on a machine with other things to do."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, scale: float, rest: tuple[torch.Tensor]) -> torch.Tensor:
        result: torch.Tensor = x + self.linear(x) * scale + rest[0]
        return result


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        for block in self.blocks:
            x = block(x, scale=0.5, rest=(x,))
        return (x,)


def wait_for(state: Callable[[], bool]) -> None:
    last = time.monotonic() + PATIENCE_SECONDS
    while not state():
        assert time.monotonic() < last
        time.sleep(0.05)


@torch.no_grad()
def called(net: Net, blocks: CompiledBlocks, x: torch.Tensor) -> torch.Tensor:
    with blocks.painting("a size"):
        (found,) = blocks.proving(net.forward, "a size")(x)
        assert isinstance(found, torch.Tensor)
        return found


def no_memory(_: torch.device) -> Memory:
    return Memory(0, 0)


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
def test_compiled_once_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trying out what the processor can do takes the compiler longer than the block.
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")
    monkeypatch.setenv("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")
    monkeypatch.setattr(config.cpp, "vec_isa_ok", False)
    monkeypatch.setattr(config, "cpp_cache_precompile_headers", False)
    net, x = Net().eval(), torch.randn(2, 4)
    with torch.no_grad():
        (expected,) = net(x)
    compiler = BlockCompiler(CPU, tmp_path)
    compiler.ask([Order("0" * 64, b"no order at all")])
    blocks = CompiledBlocks(net, compiler)
    for _ in range(2):
        assert torch.equal(called(net, blocks, x), expected)
    try:
        wait_for(blocks.adopt)
    finally:
        compiler.close()
    assert compiler.is_refused("0" * 64)
    assert "could not be compiled" in caplog.text
    torch.testing.assert_close(called(net, blocks, x), expected)
    assert blocks.acts("a size")
    assert blocks.is_proven
    # What is written into the weights acts at once.
    with torch.no_grad():
        next(net.parameters()).mul_(2)
        (changed,) = net(x)
    torch.testing.assert_close(called(net, blocks, x), changed)
    assert not torch.allclose(changed, expected)
    # Another size is called as ever.
    more = torch.randn(3, 4)
    with torch.no_grad():
        (wanted,) = net(more)
    assert torch.equal(called(net, blocks, more), wanted)
    assert not blocks.acts("a size")
    # The next server finds it on disk, at the first picture, and needs no compiler for it.
    following = BlockCompiler(CPU, tmp_path, budget=no_memory)
    blocks = CompiledBlocks(net, following)
    called(net, blocks, x)
    try:
        wait_for(blocks.adopt)
    finally:
        following.close()
    torch.testing.assert_close(called(net, blocks, x), changed)
    assert blocks.acts("a size")


def test_nothing_is_compiled_where_memory_is_short(tmp_path: Path) -> None:
    net, x = Net().eval(), torch.randn(2, 4)
    compiler = BlockCompiler(CPU, tmp_path, budget=no_memory)
    blocks = CompiledBlocks(net, compiler)
    for _ in range(2):
        called(net, blocks, x)
    compiler.close()
    assert not blocks.adopt()
    assert not any(tmp_path.iterdir())


def test_a_compiler_that_was_stopped_may_be_asked_again(tmp_path: Path) -> None:
    compiler = BlockCompiler(CPU, tmp_path)
    compiler.ask([Order("0" * 64, b"")])
    wait_for((tmp_path / BUILDING).is_dir)
    compiler.stop()
    wait_for(lambda: not compiler.is_asked("0" * 64))
    compiler.close()


def test_the_compiler_ends_with_its_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "core_server.pipelines.tiers.compiled_build"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(request([Order("0" * 64, b"")] * 1000, tmp_path, "cpu", ""))
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 1


def test_only_cards_with_a_compiler_have_the_tier() -> None:
    assert not can_compile(CPU)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    store = ProgramStore(tmp_path, max_bytes=250)
    for number, digest in enumerate(("old", "used", "new")):
        store.code(digest).mkdir(parents=True)
        (store.code(digest) / "program").write_bytes(bytes(100))
        store.finish(digest, "x")
        manifest = tmp_path / digest / "program.json"
        os.utime(manifest, (number, number))
    store.trim(frozenset({"old"}))
    assert [store.results(it) for it in ("old", "used", "new")] == ["x", None, "x"]


def test_rotary_embeddings_without_complex_numbers() -> None:
    def turned(x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * by.unsqueeze(2)).flatten(3)

    x = torch.randn(1, 5, 3, 8)
    by = torch.polar(torch.ones(1, 5, 4), torch.randn(1, 5, 4))
    graph = make_fx(turned)(x, by)
    without_complex_numbers(graph)
    assert "view_as_complex" not in graph.code
    torch.testing.assert_close(graph(x, by), turned(x, by))
