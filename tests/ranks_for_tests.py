"""Several processes that train together, forked from the test so that torch is loaded once for all of them."""

import os
import pickle
import signal
import socket
import sys
import time
import traceback


def together(size, act, folder, seconds=60, shard=False):
    """Call `act(team)` in `size` processes; gives what each returned, or raises what the first one that failed told."""
    port = free_port()
    children = [fork(rank, size, port, act, folder, shard) for rank in range(size)]
    end = time.monotonic() + seconds
    left = set(children)
    while left and time.monotonic() < end:
        for child in list(left):
            if os.waitpid(child, os.WNOHANG)[0]:
                left.discard(child)
        time.sleep(0.01)
    for child in left:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    found = []
    for rank in range(size):
        path = folder / f"rank-{rank}.pickle"
        assert path.exists(), f"process {rank} of {size} said nothing"
        found.append(pickle.loads(path.read_bytes()))
        path.unlink()
    failed = [value for fine, value in found if not fine]
    assert not failed, "\n".join(failed)
    assert not left, "took too long"
    return [value for _, value in found]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fork(rank, size, port, act, folder, shard):
    folder.mkdir(parents=True, exist_ok=True)
    if child := os.fork():
        return child
    try:
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        said = True, work(act, shard)
    except BaseException:
        said = False, f"process {rank} of {size}:\n{traceback.format_exc()}"
    path = folder / f"rank-{rank}.pickle"
    path.with_suffix(".part").write_bytes(pickle.dumps(said))
    path.with_suffix(".part").rename(path)
    sys.stdout.flush()
    os._exit(0 if said[0] else 1)


def work(act, shard):
    import torch
    from accelerate.state import AcceleratorState, GradientState

    from unlearning.models.team import join, leave

    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)  # what earlier tests of the parent process left
    GradientState._reset_state()
    team = join("cpu", shard)
    value = act(team)
    leave(team)
    return value
