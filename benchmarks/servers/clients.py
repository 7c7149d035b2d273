"""The clients, for locust: each sends a text to one of two tasks, waits for the answer, and sends the next."""

from __future__ import annotations

import random

from locust import FastHttpUser, constant, task

from lightadapt import sample

TEXTS = [record["text"] for record in sample.records("test")]


class Client(FastHttpUser):
    """One that waits for its answer before it asks again."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Send one text."""
        name = random.choice(["intents", "entities"])
        with self.client.post(
            f"/predict/{name}", json={"inputs": [random.choice(TEXTS)]}, name="predict", catch_response=True
        ) as answer:
            if answer.status_code != 200 or "predictions" not in (answer.text or ""):
                answer.failure(f"{answer.status_code}: {answer.text}")
