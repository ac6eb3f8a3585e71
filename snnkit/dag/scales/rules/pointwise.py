"""Functions applied element by element: what they do to factors is tried on numbers."""

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation
from snnkit.dag.scales.elimination import whole
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.probing import degrees_of
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term


@rule("pointwise", "masked_fill", "where", "prelu", "_prelu_kernel", "rrelu_with_noise", "lerp")
def _pointwise(op: Operation, flow: ScaleFlow) -> list[tuple[Term, ...]]:
    if len(op.outputs) != 1 or any(value.dtype.is_complex for value in (*op.inputs, *op.outputs)):
        return flow.barrier(op, f"{op.kind} returns several tensors, or complex numbers")
    values = [value for value in op.inputs if value.dtype.is_floating_point]
    degrees = degrees_of(op, flow.kind)
    rank = len(op.outputs[0].shape)
    reason = Reason(f"{op.kind} puts them side by side", op.index)
    terms: list[Term] = []
    for value, degree in zip(values, degrees.single, strict=True):
        if degree:
            terms += [(whole(degree * c), _aligned(ids, rank)) for c, ids in flow.terms(value)]
    if degrees.joint:
        tied = [_aligned(flow.ids(values[position]), rank) for position in degrees.joint]
        smallest = min(tied, key=lambda ids: ids.size)
        for ids in tied:
            flow.tie(ids, smallest, reason)
        if degrees.joint_degree:
            terms.append((whole(degrees.joint_degree), smallest))
    for position, (value, degree) in enumerate(zip(values, degrees.single, strict=True)):
        if degree is None and position not in degrees.joint:
            what = "odd" if flow.kind == "sign" else "homogeneous"
            flow.fix(value, op, f"{op.kind} is not {what}")
    return [tuple(terms)]


def _aligned(ids: Ids, rank: int) -> Ids:
    return ids.reshape((1,) * (rank - ids.ndim) + ids.shape)
