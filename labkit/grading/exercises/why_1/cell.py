# exercise: why.1
def job_mtbf(gpus, failures_per_node_day):
    """Hours between two failures of a job on `gpus` GPUs, in nodes of 8.

    `failures_per_node_day` is how often one node fails in a day, such as 0.0065.
    """
    ### BEGIN SOLUTION
    return 24 / (gpus / 8 * failures_per_node_day)
    ### END SOLUTION
    raise NotImplementedError("exercise why.1: hours between two failures of the whole job")
