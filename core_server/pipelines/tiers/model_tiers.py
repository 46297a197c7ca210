"""What a loaded model has made of the tiers of its runtime."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.pipelines import devices
from core_server.pipelines.memory import TILE_SIDE, Rung
from core_server.pipelines.overrides import called_by
from core_server.pipelines.tiers.attention import attention_by
from core_server.pipelines.tiers.compiled import COMPILED, CompiledBlocks
from core_server.pipelines.tiers.frame_graphs import FrameGraphs
from core_server.pipelines.tiers.graphs import GraphedNetwork, is_close
from core_server.pipelines.tiers.kernels import Kernels, channels_last
from core_server.pipelines.tiers.low_precision import Precisions
from core_server.pipelines.tiers.processor_unet import ProcessorTier
from core_server.pipelines.tiers.prompt_features import PromptFeatures
from core_server.pipelines.tiers.signature import Unknown, flat
from core_server.pipelines.tiers.state import state_of
from core_server.pipelines.tiers.workshop import Workshop

if TYPE_CHECKING:
    from core_server.pipelines.model import LoadedModel

STOCK, KERNELS, GRAPH, ONEDNN = "stock", "kernels", "graph", "onednn"
KERNEL_TOLERANCE = 0.02
"""Difference of the denoiser's first output by our kernels from stock PyTorch's, relative: half precision's own."""
_ROOM = 2.0
"""A graph keeps what one call of the denoiser takes; so many times that must be free."""

Call = Callable[..., Any]


@dataclass(slots=True, eq=False)
class ModelTiers:
    """The tiers of one loaded model. launched: "graph" if one had a part in the last picture, else "eager"."""

    workshop: Workshop
    kernels: str = STOCK
    """What computed the last picture: "stock", or the names of our kernels and of the attention."""
    launched: str = "eager"
    graphs: GraphedNetwork | None = field(init=False)
    frames: FrameGraphs | None = field(init=False)
    """Graphs of whole live frames."""
    ungraphed: Call | None = None
    """Within `painting`: the denoiser's forward by its kernels, for a graph of more than the denoiser."""
    serving: Any = None
    """Within `painting`: for `ready`; None where the prompt is not worked out before."""
    processor: ProcessorTier | None = field(init=False)
    _wide_vae: Any = None
    _plain: bool = True
    _kernels: Kernels | None = None
    _prompts: PromptFeatures = field(default_factory=PromptFeatures)
    _proven: bool | None = None
    precisions: Precisions = field(default_factory=Precisions)
    """The denoiser's weights in 8 bit, once they were asked for."""
    _compiled: CompiledBlocks | None = None
    _acts: bool = False

    def __post_init__(self) -> None:
        backend = self.workshop.backend
        self.graphs = None if backend is None else GraphedNetwork(backend)
        self.frames = None if backend is None else FrameGraphs(backend)
        dtype = self.workshop.processor
        self.processor = None if dtype is None else ProcessorTier(dtype)

    @property
    def denoiser_dtype(self) -> torch.dtype | None:
        """What the denoiser computed the last picture in; None: as everything else."""
        return None if self.processor is None else self.processor.used

    @property
    def told(self) -> str:
        """What computed the last picture, for its recipe: `kernels`, and whether blocks were compiled."""
        if not self._acts:
            return self.kernels
        return COMPILED if self.kernels == STOCK else f"{self.kernels} + {COMPILED}"

    @property
    def size(self) -> int:
        """Bytes that graphs keep on the device."""
        return sum(it.size for it in (self.graphs, self.frames, self._prompts) if it is not None)

    @property
    def is_settled(self) -> bool:
        """Whether what computes now will go on to: our kernels were compared with stock PyTorch, or there are none."""
        if self._compiled is not None and not self._compiled.is_proven:
            return False
        return self.kernels in (STOCK, ONEDNN) or self._proven is not None

    def frames_for(self, model: LoadedModel, extent: Extent) -> FrameGraphs | None:
        """The graphs of whole live frames, where there may be some; asked outside of `painting`."""
        if model.rung is not Rung.RESIDENT or self._graphs_for(model, extent) is None:
            return None
        return self.frames

    def ready(self, serving: Any, arguments: dict[str, Any]) -> Any:
        """Readies the prompt among the denoiser's arguments for `ungraphed`, and for a graph that holds it. serving: as
        it was when that was recorded. The result stands for the memory that is read, in the graph's key."""
        return None if serving is None else self._prompts.prepare((), arguments, serving)

    def wide_vae(self, model: LoadedModel) -> Any:
        """The model's autoencoder in bfloat16, which has float32's range at half its cost; None where it may not be.

        For autoencoders that overflow in float16, so that stock pipelines turn to float32. A copy: there and back would
        cost the weights their last bits.
        """
        device = model.device
        if self.kernels == STOCK or not self._plain or not _stays(model) or device.type != "cuda":
            return None
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return None
        if self._wide_vae is None:
            self._wide_vae = self._copied(model.vae).to(torch.bfloat16)
        return self._wide_vae

    def _copied(self, vae: Any) -> Any:
        """Within `painting`: an autoencoder of its own, with kernels of its own where there are any."""
        if self._kernels is None:
            return copy.deepcopy(vae)
        self._kernels.take_off()  # a copy of them would act on the original's layers
        copied = copy.deepcopy(vae)
        self._kernels.put_on()
        assert self.workshop.operations is not None
        Kernels(self.workshop.operations, copied).put_on()
        return copied

    def release(self) -> bool:
        """Gives the graphs' memory back and makes no more; whether there were any."""
        if self.workshop.compiler is not None:
            self.workshop.compiler.stop()
        cleared = [it.clear() for it in (self.graphs, self.frames) if it is not None]
        self.graphs = self.frames = self._wide_vae = None
        self._prompts.clear()
        return self.precisions.release() or any(cleared)

    @contextmanager
    def painting(
        self, model: LoadedModel, axes: SeamlessAxes, extent: Extent, precision: str = ""
    ) -> Iterator[None]:
        """Within the context the model's networks are called by the fastest tier that they can be called by.

        precision: of the denoiser's products, "fp8" or "int8"; "" as it is loaded. Errors: InvalidRequest for one that
        it cannot have.
        """
        self._plain = axes is SeamlessAxes.NONE
        fast = self._proven is not False and _stays(model)
        attention = self.workshop.attention if fast else ""
        kernels = self._kernels_for(model) if fast else None
        names = [name for name in ("triton" if kernels else "", attention, precision) if name]
        self.kernels, self.launched = " + ".join(names) or STOCK, "eager"
        with ExitStack() as stack:
            if model.device.type == "cuda":
                stack.enter_context(torch.cuda.device(model.device))
            stack.enter_context(attention_by(attention))
            if precision:  # before our other kernels: what hides a method first is what acts
                stack.enter_context(self.precisions.used(model, precision, self._prompts))
            if kernels is not None:
                kernels.put_on()
                stack.callback(kernels.take_off)
            if self.processor is not None and stack.enter_context(self.processor.painting(model)):
                self.kernels = ONEDNN
            denoiser = model.denoiser
            forward: Call = denoiser.forward
            blocks = self._blocks_for(model) if fast and not precision else None
            if blocks is not None:
                stack.enter_context(blocks.painting(extent))
                forward = blocks.proving(forward, extent)
            self.ungraphed = call = forward
            self.serving = None
            if (graphs := self._graphs_for(model, extent)) is not None or kernels is not None:
                how = self.kernels if blocks is None else f"{self.kernels} {blocks.version}"
                state = axes, how, state_of(denoiser, has_adapters=model.rack is not None)
                by_kernels = kernels is not None
                call = self._fast(graphs, forward, state, by_kernels=by_kernels)
                if by_kernels:
                    self.serving, self.ungraphed = state, self._prompts.served(forward)
            if kernels is not None and model.rack is not None:
                self._prompts.forget()  # what happened to the weights meanwhile is not always seen
            if names and self._proven is None and not precision:
                call = self._proving(forward, call, kernels)
            if call is not forward or blocks is not None:
                stack.enter_context(called_by(denoiser, call))
            try:
                yield
            finally:
                self._acts = blocks is not None and blocks.acts(extent)

    def _blocks_for(self, model: LoadedModel) -> CompiledBlocks | None:
        """The compiled tier of a transformer; programs that have become ready act from now on."""
        compiler = self.workshop.compiler
        if compiler is None or model.family.denoiser == "unet":
            return None
        if self._compiled is None:
            self._compiled = CompiledBlocks(model.denoiser, compiler)
        if self._compiled.adopt():
            for graphs in (self.graphs, self.frames):
                if graphs is not None:
                    graphs.clear()
        return self._compiled

    def _kernels_for(self, model: LoadedModel) -> Kernels | None:
        operations = self.workshop.operations
        if operations is None:
            return None
        if self._kernels is None:
            parts = [model.vae, *([model.denoiser] if model.family.denoiser == "unet" else [])]
            # Video autoencoders have kernels of five dimensions.
            channels_last(*(it for it in parts if all(p.ndim < 5 for p in it.parameters())))
        if self._kernels is None or model.rack is not None:
            self._kernels = Kernels(operations, model.denoiser, model.vae, prompts=self._prompts)
        return self._kernels

    def _graphs_for(self, model: LoadedModel, extent: Extent) -> GraphedNetwork | None:
        if self.graphs is None or not _stays(model):
            return None
        # Somebody else has a hand in it, or reference pictures with weights of their own.
        if "forward" in vars(model.denoiser) or getattr(model.denoiser, "encoder_hid_proj", None):
            return None
        if model.device.type == "cpu":  # a stand-in for a device
            return self.graphs
        return self.graphs if devices.memory_of(model.device).free > _room(model, extent) else None

    def _fast(
        self, graphs: GraphedNetwork | None, forward: Call, state: Any, *, by_kernels: bool
    ) -> Call:
        """The denoiser by a graph, where there are some, and by our kernels with its prompt worked out once."""
        served = self._prompts.served(forward) if by_kernels else forward

        def call(*args: Any, **kwargs: Any) -> Any:
            memory = self._prompts.prepare(args, kwargs, state) if by_kernels else None
            if graphs is None:
                return served(*args, **kwargs)
            before = graphs.replays
            result = graphs.call(served, (state, memory), args, kwargs)
            if graphs.replays > before:
                self.launched = GRAPH
            return result

        return call

    def _proving(self, forward: Call, following: Call, kernels: Kernels | None) -> Call:
        """The model's first call of all goes both ways; if they differ, stock PyTorch paints it from then on."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._proven is not None:
                return following(*args, **kwargs)
            fast = forward(*args, **kwargs)
            if kernels is not None:
                kernels.take_off()
            with attention_by("flash" if self.workshop.attention else ""):
                stock = forward(*args, **kwargs)
            self._proven = _agree(fast, stock)
            if not self._proven:
                self.kernels = STOCK
                return stock
            if kernels is not None:
                kernels.put_on()
            return fast

        return call


def _stays(model: LoadedModel) -> bool:
    """Whether denoiser and autoencoder stay on the device; text encoders may come and go."""
    return model.rung is not None and model.rung <= Rung.VAE_TILED


def _room(model: LoadedModel, extent: Extent) -> float:
    """Bytes that must be free where a graph is to be: what it keeps, and what is needed beside it."""
    keeps = model.activations.denoise * extent.area
    if model.rung is Rung.RESIDENT:
        return _ROOM * keeps
    tile = min(extent.area, TILE_SIDE**2) if model.rung is Rung.VAE_TILED else extent.area
    return keeps + model.activations.decode * tile


def _agree(fast: Any, stock: Any) -> bool:
    try:
        pairs = zip(flat(fast).tensors, flat(stock).tensors, strict=True)
        return all(is_close(a, b, KERNEL_TOLERANCE) for a, b in pairs)
    except (Unknown, ValueError):
        return False
