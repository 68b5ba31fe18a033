# exercise: data_parallel.4
import torch


def largest_entries(gradient, left, count):
    """What is sent now, and what is left for the next time: two tensors of the gradient's shape.

    `left` is what was left the last time. Of gradient + left the `count` entries of largest
    absolute value are sent, the others are zero in what is sent.
    """
    ### BEGIN SOLUTION
    wanted = gradient + left
    places = wanted.abs().topk(count).indices
    sent = torch.zeros_like(wanted)
    sent[places] = wanted[places]
    return sent, wanted - sent
    ### END SOLUTION
    raise NotImplementedError("exercise data_parallel.4: the largest entries, and the rest")
