"""A run on a Slurm cluster: the worker that runs use anywhere, once for each card of one machine or several.

    pip install submitit
    python -m unlearning unlearn book.epub --prepare        # makes the run and prints its folder
    python examples/slurm.py RUN_FOLDER --machines 2 --cards 8 --partition gpu

Call it in this project's folder; machines must share the disk that the run lies on. Nothing has to stay open: `runs
follow`, `runs stop` and the page work as ever. When the time is up or something more urgent comes, the job goes back
into Slurm's queue and later on from the newest checkpoint. `--cluster local` tries it out without Slurm.
"""

from __future__ import annotations

import argparse
import atexit
from pathlib import Path

import submitit


class Process:
    """What every task of the job does; submitit pickles it, so it holds nothing but a name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self) -> int:
        """Work on the run together with the other tasks; gives the worker's exit status."""
        # RANK, WORLD_SIZE and the like, as torchrun sets them. All see all cards of a machine: each takes its own.
        submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        from unlearning import together
        from unlearning.worker import main

        status = main([self.folder])
        if together.place()[1] > 1:  # ends as the worker does (see there), once submitit has written its result
            atexit.register(together.end, 0)
        return status

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Asked for by submitit before Slurm ends the job: the same again, which resumes the run."""
        return submitit.helpers.DelayedSubmission(self)


def logs_of(folder: Path) -> Path:
    """Where the jobs of a run keep what submitit writes."""
    return folder.parent.parent / "slurm" / folder.name


def submit(folder: Path, options: argparse.Namespace) -> submitit.Job[int]:
    """Queue the job; its logs go beside the runs, because its pickles have no place in a run that may be passed on."""
    executor = submitit.AutoExecutor(folder=logs_of(folder), cluster=options.cluster)
    executor.update_parameters(
        name=f"unlearn-{folder.name}", nodes=options.machines, tasks_per_node=options.cards or options.processes,
        gpus_per_node=options.cards, cpus_per_task=options.cores, timeout_min=round(options.hours * 60),
        **({"slurm_partition": options.partition} if options.partition else {}),
    )  # fmt: skip
    return executor.submit(Process(str(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Let a Slurm cluster work on a run.")
    parser.add_argument("folder", type=Path, help="the run's folder")
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--cards", type=int, default=0, help="on each machine, a process for each")
    parser.add_argument("--processes", type=int, default=1, help="on each machine, where there are no cards")
    parser.add_argument("--cores", type=int, default=8, help="processor cores of each process")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--partition", default="")
    parser.add_argument("--cluster", choices=("slurm", "local"), default="slurm")
    parser.add_argument("--wait", action="store_true", help="until the job has ended")
    options = parser.parse_args()
    job = submit(options.folder.resolve(), options)
    print(f"Job {job.job_id} is queued; its logs are in {logs_of(options.folder.resolve())}.")
    if options.wait:
        raise SystemExit(max(job.results()))


if __name__ == "__main__":
    main()
