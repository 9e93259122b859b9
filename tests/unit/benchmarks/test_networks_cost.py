"""Operations counted by hand and by the counter agree."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.networks.cost import multiply_adds, parameters


def graph(nodes, inputs, outputs, weights):
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ones(*shape):
    return np.ones(shape, np.float32)


def test_a_convolution_with_stride_and_groups():
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=2)
    model = graph([node], {"x": [1, 4, "h", 8]}, ["y"], {"w": ones(6, 2, 3, 3)})
    assert multiply_adds(model, {"x": ones(1, 4, 8, 8)}) == 6 * 4 * 4 * 2 * 9
    assert parameters(model) == 108


def test_matrix_products():
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Gemm", ["h", "b"], ["y"], transB=1)]
    model = graph(nodes, {"x": ["n", 5]}, ["y"], {"a": ones(5, 7), "b": ones(3, 7)})
    assert multiply_adds(model, {"x": ones(2, 5)}) == 2 * 5 * 7 + 2 * 7 * 3
    assert parameters(model) == 35 + 21


def test_a_recurrent_layer_of_two_directions():
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4, direction="bidirectional")
    model = graph([node], {"x": [6, 2, 3]}, ["y"], {"w": ones(2, 12, 3), "r": ones(2, 12, 4)})
    assert multiply_adds(model, {"x": ones(6, 2, 3)}) == 6 * 2 * 2 * (12 * 3 + 12 * 4)


def test_halved_weights_count_and_shapes_do_not():
    nodes = [
        helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mul", ["h", "scale"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    weights = {"half": np.ones((5, 7), np.float16), "scale": np.array(2.0, np.float32), "shape": np.array([7, 1], np.int64)}
    model = graph(nodes, {"x": [1, 5]}, ["y"], weights)
    assert parameters(model) == 35
    assert multiply_adds(model, {"x": ones(1, 5)}) == 35
