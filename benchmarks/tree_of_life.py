"""A tree of life's labels on a laptop: seconds and memory of every step, with random weights and embeddings.

    python -m benchmarks.tree_of_life --classes 950000

The folder and the files have the formats of BioCLIP's: an OpenCLIP folder (ViT-B-16), ``txt_emb_species.npy`` (D C,
float32) and ``txt_emb_species.json``. Each step runs in turn in one process; memory is the process's own, at its most
and at the end of the step, over what it was before. Seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print seconds and the peak of what is in memory, polled every few milliseconds."""
    before, most, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.process_time()
    try:
        yield
    finally:
        seconds = time.process_time() - start
        done.set()
        thread.join()
        kept = resident() - before
        print(f"| {what} | {seconds:.2f} | {max(0.0, most[0] - before):.2f} | {kept:.2f} |", flush=True)


def resident() -> float:
    """Return the process's own memory in GiB: not what is mapped from files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 2**20


def furnish(folder: Path, classes: int, model: str) -> None:
    """Write an OpenCLIP folder with random weights, and a tree of life's embeddings."""
    from finercam._torchvision import import_torchvision

    import_torchvision()
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    made = open_clip.create_model(model, load_weights=False)
    config = open_clip.get_model_config(model)
    preprocess = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file(made.state_dict(), folder / "open_clip_model.safetensors")
    width = config["embed_dim"]
    array = np.lib.format.open_memmap(folder / "txt_emb_species.npy", "w+", np.float32, (width, classes))
    random = np.random.default_rng(0)
    for row in range(width):
        array[row] = random.standard_normal(classes, np.float32)
    array.flush()
    # Four species in a genus, twelve genera in a family: about what the tree has.
    with (folder / "txt_emb_species.json").open("w") as file:
        for i in range(classes):
            genus, family, order = i // 4, i // 48, i // 2000
            ranks = ["Animalia", f"Phylum{i // 100000}", f"Class{i // 20000}", f"Order{order}", f"Family{family}"]
            line = json.dumps([[*ranks, f"Genus{genus}", f"species{i}"], f"common name {i}" if i % 3 == 0 else ""])
            file.write(("[" if not i else ",\n") + line)
        file.write("]")


def main() -> None:
    """Run every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=950_000)
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    import finercam

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder, options.classes, options.model)
        print("| step | CPU seconds | peak GiB | kept GiB |\n|---|---|---|---|")
        with measured("load"):
            model = finercam.load(folder, embeddings=folder / "txt_emb_species.npy")
        assert model.rows is not None
        print(f"(of it the rows themselves: {model.rows.numel() * 4 / 2**30:.2f} GiB)")
        photos = [torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(i)) for i in range(options.batch)]
        run = finercam.Run(images=options.batch)
        with measured("first photo, against similar"):
            finercam.explain(model, photos[0])
        for against in ("similar", "genus", "weights"):
            with measured(f"a batch of {options.batch}, against {against}"):
                finercam.explain(model, photos, against=against, run=run)
        with measured("the same, 30 references, max"):
            finercam.explain(model, photos, references=30, aggregate="max", run=run)
        with measured("the same, a family's log-sum"):
            finercam.explain(model, photos, rank="family", run=run)
        with measured("the same, evidence kept"):
            found = finercam.explain(model, photos, keep=True, collect=10, run=run)
        with measured("another strength"):
            found[0].again(gamma=1)
        with measured("one explanation's record"):
            found[0].record()
        with measured("one explanation written with its evidence"):
            found[0].save(folder / "why.safetensors")
        print(f"(its file: {(folder / 'why.safetensors').stat().st_size / 2**20:.0f} MiB)")
        with measured("and read again"):
            finercam.Explanation.load(folder / "why.safetensors")
        with measured("a class by its common name, first"):
            finercam.explain(model, photos[0], "Common name 3")
        with measured("a class by its name, again"):
            finercam.explain(model, photos[0], "common_name_6")


if __name__ == "__main__":
    main()
