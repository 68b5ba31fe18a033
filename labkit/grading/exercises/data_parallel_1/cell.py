# exercise: data_parallel.1
def global_mean(means, samples):
    """The mean gradient over all samples of all ranks.

    `means[r]` is a tensor, the mean over the `samples[r]` samples of rank r, all zero for none.
    """
    ### BEGIN SOLUTION
    return sum(mean * count for mean, count in zip(means, samples, strict=True)) / sum(samples)
    ### END SOLUTION
    raise NotImplementedError("exercise data_parallel.1: the mean over all samples")
