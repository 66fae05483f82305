"""The server of this project as a contestant: ``python -m benchmarks.race.own_generation WAY MODEL MODELS``, WAY of ``WAYS``."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.race.contest import answer
from benchmarks.serving.server_process import Client, run_server

WAYS = ("one", "adapter", "eight")
"""An image after the other, the same with an adapter, and eight prompts at once."""
PROMPTS = tuple(f"a photo of a {colour} star" for colour in ("red", "blue", "green", "white", "black", "pink", "cyan", "orange"))
STEPS, GUIDANCE = 25, 5.0


def main(way: str, model: Path, models: Path) -> None:
    """Answer counts of images, or of batches of eight, with seconds until the input ends."""
    with run_server(model, models) as server, ThreadPoolExecutor(len(PROMPTS)) as pool:
        clients = [Client(server.address) for _ in PROMPTS]
        loras = [{"id": "one", "weight": 1.0}] if way == "adapter" else []

        def generate(client: Client, prompt: str, seed: int) -> None:
            client.generate(prompt=prompt, seed=seed, steps=STEPS, cfg=GUIDANCE, loras=loras)

        def one(number: int) -> None:
            generate(clients[0], PROMPTS[number % len(PROMPTS)], number)

        def eight(number: int) -> None:
            seeds = range(number * len(PROMPTS), (number + 1) * len(PROMPTS))
            list(pool.map(generate, clients, PROMPTS, seeds))

        answer(eight if way == "eight" else one)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
