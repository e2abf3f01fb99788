"""The bare application that `bench serve` measures against: what any service of this kind has to do, and no more.

One request is one Redis round trip (the user's 50 newest items and a vector) and one search for neighbours.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import faiss
import numpy as np
import orjson
import redis.asyncio
import uvicorn
from fastapi import FastAPI, Response

N_ITEMS, DIMENSIONS, K = 100_000, 64, 10


def main(url: str, port: int) -> None:
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(DIMENSIONS, 32)
    index.add(np.random.default_rng(0).standard_normal((N_ITEMS, DIMENSIONS), np.float32))
    index.hnsw.efSearch = 64
    client = redis.asyncio.Redis.from_url(url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/v1/users/{user_id:path}/recommendations")
    async def recommend(user_id: str, k: int = K) -> Response:
        pipeline = client.pipeline(transaction=False)
        pipeline.lrange(f"bare:{user_id}:history", 0, 49)
        pipeline.get(f"bare:{user_id}:vector")
        _, vector = await pipeline.execute()
        distances, rows = index.search(np.frombuffer(vector, np.float32)[None], k)
        items = [
            {"item_id": str(row), "score": -distance}
            for row, distance in zip(rows[0].tolist(), distances[0].tolist(), strict=True)
        ]
        return Response(orjson.dumps({"user_id": user_id, "items": items}), media_type="application/json")

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
