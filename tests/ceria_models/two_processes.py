"""What each process of a test does; torchrun starts it with a folder for what comes out."""

import shutil
import sys
import time
from pathlib import Path

import torch
from torch import distributed, nn

from ceria_data.errors import CeriaError
from ceria_models import losses, training_run
from ceria_models.crops import Crops, collate
from ceria_models.decoded import decode_split
from ceria_models.machine import open_machine
from ceria_models.nets import create_net
from ceria_models.trainee import Trainee, optics_likelihood
from ceria_models.training import CropOrder, count_frequency, loss_terms, train
from tests.ceria_models.test_training import NOBODY, tiny

# Digits of float32: bfloat16 would round the small differences that are looked for.
ALL_TERMS = tiny(
    ("dice: 0.1}", "dice: 0.1, depth: 0.1, offset: 0.5, optics: 0.1}"),
    ("crops: 96", "crops: 48, bfloat16: false"),
)


def gradient(split, machine):
    """Loss and gradient of the first batch, as `train` makes them."""
    torch.manual_seed(1)
    net = create_net(ALL_TERMS.net.settings(14))
    with torch.no_grad():
        net.classes.weight.mul_(30)
    rare = losses.rarity(count_frequency(split, 14), 0.5)
    crops = Crops(split, ALL_TERMS.views.views(), ALL_TERMS.mask.mask(), 14, ALL_TERMS.seed)
    keys = next(iter(CropOrder(len(split), ALL_TERMS.schedule, ALL_TERMS.seed, machine, 0)))
    batch = collate([crops[key] for key in keys])
    trainee = Trainee(net, asks_optics=True)
    trained = trainee
    if machine.world > 1:
        trained = nn.parallel.DistributedDataParallel(trainee)
    output, named = trained(batch.image)
    terms = loss_terms(output, batch, ALL_TERMS.loss, rare)
    terms["optics"] = optics_likelihood(named, batch.optics)
    assert len(terms) == 6
    torch.stack(list(terms.values())).sum().backward()
    gradients = {name: p.grad for name, p in trainee.named_parameters()}
    return {name: term.detach() for name, term in terms.items()}, gradients


def weights(split, machine, folder):
    """Weights that a short training ends with."""
    folder.mkdir(exist_ok=True)
    net = train(ALL_TERMS, split, folder, machine, content_digest="0" * 64, max_count=14)
    return net.state_dict()


def replaced(machine, folder):
    """Train over what is there; the first process takes its time to remove it."""
    real = shutil.rmtree

    def slowly(path, **options):
        if Path(path) == folder:
            time.sleep(2)
        real(path, **options)

    shutil.rmtree = slowly
    training_run._save = lambda *_: None
    arguments = (tiny(("crops: 96", "crops: 16")), "ceria-columns-mini", folder, machine, NOBODY)
    said = []
    for overwrite in (True, False):
        try:
            training_run.run_training(*arguments, overwrite=overwrite)
            said.append("trained")
        except CeriaError as error:
            said.append(str(error))
    return said


def main(out):
    torch.set_num_threads(1)
    machine = open_machine("cpu", workers=0)
    split = decode_split("ceria-columns-mini", "validation", out / "cache")
    found = {
        "gradient": gradient(split, machine),
        "weights": weights(split, machine, out / f"run-{machine.rank}"),
        "replaced": replaced(machine, out / "old"),
    }
    torch.save(found, out / f"found-{machine.rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
