"""The frozen base sharded among processes (FSDP, arXiv 2304.11277). Each process has the whole adapter: it is small."""

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from foundation.errors import BadInput


def shard(model: nn.Module, device: torch.device) -> None:
    """Shard the frozen weights of ``model`` among the processes, which gather them block by block as they are needed.

    All processes must then make every pass through the model together. Raises ``BadInput`` if there is only one process.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        raise BadInput(
            "shard: true divides the base among several processes. Start them with accelerate launch --num_processes 2."
        )
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    adapter = [parameter for name, parameter in model.named_parameters() if ".lora_" in name]
    for parameter in adapter:
        distributed.broadcast(parameter.data, src=0)
    blocks = tuple(getattr(model, "_no_split_modules", None) or ())
    # From the inside out: a block shards what the blocks inside it have not.
    for module in reversed(list(model.modules())):
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh, ignored_params=set(adapter))
    fully_shard(model, mesh=mesh, ignored_params=set(adapter))
