"""The clients, for locust: each sends a text to an adapter, waits for the answer, and sends the next.

The file that LIGHTADAPT_CLIENTS names says which adapters there are, how often each is asked, with which texts, and
what each answers: `{"names": […], "weights": […], "texts": […], "answers": {name: {text: {label: probability}}}}`.
Where no answers are given, they are not looked at.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from checking import is_near
from locust import FastHttpUser, constant, task

ASKED = json.loads(Path(os.environ["LIGHTADAPT_CLIENTS"]).read_text(encoding="utf-8"))


class Client(FastHttpUser):
    """One that waits for its answer before it asks again."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Send one text."""
        (name,) = random.choices(ASKED["names"], ASKED["weights"])
        text, checked = random.choice(ASKED["texts"]), bool(ASKED["answers"])
        body = {"inputs": [text], "scores": True} if checked else {"inputs": [text]}
        with self.client.post(f"/predict/{name}", json=body, name="predict", catch_response=True) as answer:
            if answer.status_code != 200 or "predictions" not in (answer.text or ""):
                answer.failure(f"{answer.status_code}: {answer.text}")
            elif checked and not is_near(answer.json()["predictions"][0], ASKED["answers"][name][text]):
                answer.failure(f"{name} did not answer this: {answer.text}")
