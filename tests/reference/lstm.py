"""An LSTM with variational dropout, one gate and one word at a time, after Keras' equations."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_layer(
    x: np.ndarray,
    of_input: np.ndarray,
    of_state: np.ndarray,
    bias: np.ndarray,
    input_mask: np.ndarray,
    state_mask: np.ndarray,
) -> np.ndarray:
    """[time, inputs] to [time, width] for one sentence; the masks are the same at every word."""
    width = of_state.shape[1]
    state, cell, outputs = np.zeros(width), np.zeros(width), []
    for word in x:
        gates = of_input @ (word * input_mask) + of_state @ (state * state_mask) + bias
        enter, forget, new, leave = (gates[i * width : (i + 1) * width] for i in range(4))
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        state = sigmoid(leave) * np.tanh(cell)
        outputs.append(state)
    return np.stack(outputs)
