"""One block and one way to call it, as a graph of operations whose inputs are its weights and its arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from core_server.pipelines.tiers.compiled_orders import slots
from core_server.pipelines.tiers.signature import flat

_ATEN = torch.ops.aten
LONE = "x"
"""How results look: one tensor; of a tuple "(" and for each item "x", or "-" for None."""


def traced(
    block: nn.Module, given: tuple[Any, dict[str, Any]]
) -> tuple[fx.GraphModule, list[torch.Tensor], str]:
    """The graph, its inputs, and how its results look (`LONE`).

    Errors: TypeError for other results.
    """
    places = slots(block)
    arguments = flat(given)
    inputs = [getattr(module, name) for module, name in places] + arguments.tensors
    inputs = [tensor.detach() for tensor in inputs]
    looks = LONE

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal looks
        for (module, name), tensor in zip(places, tensors, strict=False):
            held = module._parameters if name in module._parameters else module._buffers
            held[name] = tensor  # type: ignore[assignment]
        args, kwargs = arguments.rebuilt(list(tensors[len(places) :]))
        results = block(*args, **kwargs)
        if isinstance(results, torch.Tensor):
            return (results,)
        if type(results) is not tuple:
            raise TypeError("the block's results are no tensors")
        looks = "(" + "".join("-" if it is None else "x" for it in results)
        found = tuple(it for it in results if it is not None)
        if not all(isinstance(it, torch.Tensor) for it in found):
            raise TypeError("the block's results are no tensors")
        return found

    graph = make_fx(run)(*inputs)
    without_complex_numbers(graph)
    return graph, inputs, looks


def without_complex_numbers(graph: fx.GraphModule) -> None:
    """Rotary embeddings as complex products become sums of real products, which a compiler can fuse.

    view_as_real(view_as_complex(x) * f) -> (x0 f0 - x1 f1, x0 f1 + x1 f0).
    """
    nodes = graph.graph
    for node in list(nodes.nodes):
        if node.target is not _ATEN.view_as_real.default:
            continue
        product = node.args[0]
        if not isinstance(product, fx.Node) or product.target is not _ATEN.mul.Tensor:
            continue
        turned, by = product.args
        if not (isinstance(turned, fx.Node) and isinstance(by, fx.Node)):
            continue
        if turned.target is not _ATEN.view_as_complex.default:
            continue
        with nodes.inserting_before(node):

            def call(target: Any, *args: Any) -> fx.Node:
                return nodes.call_function(target, args)

            pairs = (turned.args[0], call(_ATEN.view_as_real.default, by))
            (x0, x1), (f0, f1) = (
                [call(_ATEN.select.int, pair, -1, part) for part in (0, 1)] for pair in pairs
            )
            mul, stack = _ATEN.mul.Tensor, _ATEN.stack.default
            real = call(_ATEN.sub.Tensor, call(mul, x0, f0), call(mul, x1, f1))
            imaginary = call(_ATEN.add.Tensor, call(mul, x0, f1), call(mul, x1, f0))
            node.replace_all_uses_with(call(stack, [real, imaginary], -1))
        nodes.erase_node(node)
    nodes.eliminate_dead_code()
    graph.recompile()
