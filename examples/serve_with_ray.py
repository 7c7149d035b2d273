"""Adaptations of one base behind Ray Serve: replicas that load adapters by name, as many replicas as the queue needs.

pip install 'lightadapt[ray]'
python examples/serve_with_ray.py runs/serve/intents runs/serve/entities      # what examples/serve.py has trained
curl http://127.0.0.1:8000 -H "serve_multiplexed_model_id: intents" \
    -H "Content-Type: application/json" -d '{"inputs": ["Where is my parcel?"]}'

Ray sends a request to a replica that holds its adapter already, where there is one. A replica keeps the adapters that
were asked for last; all of them share the one base that it has in memory.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

import lightadapt as la

HELD = 8  # adapters in memory, a replica
SCALING = {"min_replicas": 2, "max_replicas": 4, "target_ongoing_requests": 8}  # requests that run or wait, a replica


class Held:
    """An adapter that a replica holds, until Ray lets it go."""

    def __init__(self, replica: "Replica", name: str) -> None:
        self.base, self.name = replica.base, name
        if name not in self.base.names:
            la.load(replica.folders[name], onto=self.base, name=name)

    def __del__(self) -> None:
        if self.name in self.base.names:
            self.base.remove(self.name)


@serve.deployment(autoscaling_config=SCALING, max_ongoing_requests=32)
class Replica:
    """One process with one base, which the first of the adapters brings."""

    def __init__(self, folders: dict[str, str]) -> None:
        self.folders = folders
        self.base = la.load(next(iter(folders.values())))

    @serve.multiplexed(max_num_models_per_replica=HELD)
    async def held(self, name: str) -> Held:
        return await asyncio.to_thread(Held, self, name)

    async def __call__(self, request: Request) -> JSONResponse:
        name, body = serve.get_multiplexed_model_id(), await request.json()
        if name not in self.folders:  # never the base in its place
            return JSONResponse({"error": f"no adapter {name!r}; there are {sorted(self.folders)}"}, status_code=404)
        held: Any = await self.held(name)
        try:
            found = await asyncio.to_thread(self.base.predict, body["inputs"], adapter=held.name)
        except (la.LightAdaptError, LookupError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({"predictions": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="saved adaptations of one base")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    serve.start(http_options={"port": options.port})
    serve.run(Replica.bind({folder.name: str(folder.resolve()) for folder in options.folders}), blocking=True)


if __name__ == "__main__":
    main()
