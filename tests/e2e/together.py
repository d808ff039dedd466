"""Processes of one job, as torchrun starts them, but forked from a server that has imported the stack once."""

import multiprocessing
import os
import socket
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
PRELOADED = ["behavesim.build", "behavesim.inputs", "behavesim.results", "behavesim.resume", "behavesim.report"]
PATIENCE = 240  # seconds


def forkserver():
    """The server's context; its processes start in a moment, and one import serves them all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "together"])
    return context


def run(context, folder, overrides, *, processes=2, nodes=1):
    """Train in `folder` with as many processes, on one node or a node each; returns their exit codes."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [f"trainer.devices={processes // nodes}", f"trainer.num_nodes={nodes}"]
    arguments = [*overrides, "trainer.accelerator=cpu", *places]
    started = [
        context.Process(target=_train, args=(rank, processes, nodes, port, folder, arguments), daemon=True)
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
    return [process.exitcode for process in started]


def _train(rank, processes, nodes, port, folder, overrides):
    os.chdir(folder)
    log = (folder / f"log_{rank}").open("w")
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    sys.path.insert(0, str(HERE))  # for callbacks of tests
    here = processes // nodes
    places = {"RANK": rank, "LOCAL_RANK": rank % here, "GROUP_RANK": rank // here}
    places |= {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": here}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "DS_ACCELERATOR": "cpu"}
    os.environ.update({name: str(value) for name, value in (places | where).items()})
    import torch

    from behavesim.cli import compose
    from behavesim.train import train

    torch.set_num_threads(1)
    try:
        train(compose("train", overrides))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # the others are told by their broken connection, and nothing waits for them
